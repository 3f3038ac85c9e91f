"""What `import reverie` offers to programs: train, resume, load, and the dream as an environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

if TYPE_CHECKING:
    from reverie.training.run import RunResult


def train(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    *,
    run_dir: str | Path | None = None,
    plugin_files: Sequence[str | Path] = (),
    callbacks: Sequence[Any] = (),
    loggers: Sequence[Any] = (),
    progress: bool = False,
) -> RunResult:
    """Train a recipe in a new run folder, as `reverie train` does.

    Args:
        recipe: its name, or a path that ends in `.yaml`.
        overrides: such as `["env=pendulum", "budget.env_steps=2000"]`.
        run_dir: the folder of the run; `runs/<recipe>-<env>-<time>` by default.
        plugin_files: one-file plugins to load.
        callbacks, loggers: of Lightning.
        progress: show it.

    Returns:
        Where the run is (`run_dir`) and how it ended (`status`).

    Raises:
        RecipeError: with every problem of the recipe.
        RunError: if the folder is taken.
    """
    from reverie.training.run import train as train_recipe

    prepared = prepare(recipe, overrides, plugins=_plugins(plugin_files))
    return train_recipe(prepared, run_dir=run_dir, callbacks=callbacks, loggers=loggers, progress=progress)


def resume(
    run: str | Path,
    *,
    accelerator: str | None = None,
    plugin_files: Sequence[str | Path] = (),
    callbacks: Sequence[Any] = (),
    progress: bool = False,
) -> RunResult:
    """Go on with a run where its newest whole checkpoint is; harmless for a run that is complete.

    Args:
        run: the folder.
        accelerator: `cpu`, `gpu` or `auto` instead of what the recipe says: a run may change between CPU and GPU.
        plugin_files: one-file plugins to load.
        callbacks: of Lightning.
        progress: show it.

    Raises:
        RunError: if there is no such run, somebody works in it, or no checkpoint can be used.
    """
    from reverie.training.run import resume as resume_run

    return resume_run(
        run, accelerator=accelerator, plugins=_plugins(plugin_files), callbacks=callbacks, progress=progress
    )


def load(run: str | Path, *, checkpoint: str | None = None, plugin_files: Sequence[str | Path] = ()) -> Any:
    """The agent of a run, ready to act: `state = agent.initial(n)`, `action, state = agent.act(obs, state, is_first)`.

    Args:
        run: the folder.
        checkpoint: the name of one of its checkpoints; the newest whole one by default.
        plugin_files: one-file plugins to load.

    Raises:
        RunError: if there is no run or no checkpoint that can be used.
    """
    from reverie.evaluation.reopen import reopen

    return reopen(Path(run), checkpoint=checkpoint, plugins=_plugins(plugin_files)).policy


def dream_env(
    run: str | Path,
    *,
    num_envs: int | None = None,
    render_mode: str | None = None,
    checkpoint: str | None = None,
    plugin_files: Sequence[str | Path] = (),
    **options: Any,
) -> Any:
    """The world model of a run as a Gymnasium environment, as `gymnasium.make("reverie/Dream-v0", run=run)` gives it.

    Args:
        run: the folder. What lies in it is not trusted, and nothing in it is executed.
        num_envs: None makes a `gymnasium.Env`; a number makes a `VectorEnv` of so many dreams in one batch.
        render_mode: `rgb_array` or None.
        checkpoint: the name of one of its checkpoints; the newest whole one by default.
        plugin_files: one-file plugins to load.
        options: `temperature`, `observation`, `start`, `termination`, `threshold`, `time_limit`, `context`: see
            `reverie.dreaming.options.DreamOptions`.

    Raises:
        RunError: if there is no run, no checkpoint that can be used, or no world model that can dream.
        ReverieError: for a temperature of 0 or less, and other options that make no sense.
    """
    from reverie.dreaming.starts import options_of
    from reverie.evaluation.reopen import reopen

    options_of(options)
    opened = reopen(Path(run), checkpoint=checkpoint, plugins=_plugins(plugin_files))
    if num_envs is not None:
        from reverie.dreaming.vector import DreamVectorEnv

        return DreamVectorEnv(opened, num_envs, render_mode=render_mode, **options)
    from reverie.dreaming.env import DreamEnv

    return DreamEnv(opened, render_mode=render_mode, **options)


def real_env(
    run: str | Path,
    *,
    observation: Literal["decoded", "latent"] = "decoded",
    render_mode: str | None = None,
    checkpoint: str | None = None,
    plugin_files: Sequence[str | Path] = (),
) -> Any:
    """A run's real environment with the spaces of its dream: there a policy is judged that was trained in the dream.

    Args:
        run, render_mode, checkpoint, plugin_files: as for `dream_env`.
        observation: as the dream's: `latent` gives the features of the state that the model filters from what it sees.

    Raises:
        RunError: if there is no run or no checkpoint that can be used.
    """
    from reverie.dreaming.real import RealEnv
    from reverie.evaluation.reopen import reopen

    opened = reopen(Path(run), checkpoint=checkpoint, plugins=_plugins(plugin_files))
    return RealEnv(opened, observation=observation, render_mode=render_mode)


def _plugins(files: Sequence[str | Path]) -> Any:
    return load_plugins(files=[Path(file) for file in files])
