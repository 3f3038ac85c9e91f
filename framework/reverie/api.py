"""What `import reverie` offers to programs: train, resume, load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    run: str | Path, *, plugin_files: Sequence[str | Path] = (), callbacks: Sequence[Any] = (), progress: bool = False
) -> RunResult:
    """Go on with a run where its newest whole checkpoint is; harmless for a run that is complete.

    Raises:
        RunError: if there is no such run, somebody works in it, or no checkpoint can be used.
    """
    from reverie.training.run import resume as resume_run

    return resume_run(run, plugins=_plugins(plugin_files), callbacks=callbacks, progress=progress)


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


def _plugins(files: Sequence[str | Path]) -> Any:
    return load_plugins(files=[Path(file) for file in files])
