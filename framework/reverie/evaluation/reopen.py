"""A finished run, opened again to be judged: as it was, or with another planner or environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie.assembly.agent import Agent
from reverie.assembly.build import build_environment, build_external
from reverie.assembly.data import without_environment
from reverie.assembly.load import load_agent
from reverie.assembly.spaces import differences
from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.policy import Policy
from reverie.errors import Problem, RecipeError, RunError
from reverie.evaluation.recording import Recording
from reverie.extension.manager import Plugins, load_plugins
from reverie.extension.names import suggest
from reverie.recipes.from_run import LOCK_FILE
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.checkpoint import checkpoint_of
from reverie.training.checkpoint.folder import Checkpoint
from reverie.training.devices import device
from reverie.training.offline import held_out_recordings
from reverie.training.untrusted import require_run

SWAPPABLE = ("planner", "env")
"""Slots that may change between training and judging: nothing in them was trained."""

LONGEST_CHAIN = 8
"""Runs whose environments are the dreams of one another."""


@dataclass(frozen=True)
class Opened:
    """A run, ready to act.

    Args:
        run: its folder.
        recipe: the locked one, with the overrides applied.
        policy: an `Agent`, or whatever an external learner trained.
        factory: makes its environments.
        checkpoint: where the weights came from.
    """

    run: Path
    recipe: Recipe
    policy: Policy
    factory: EnvironmentFactory
    checkpoint: Checkpoint

    @property
    def agent(self) -> Agent:
        """The agent.

        Raises:
            RunError: if the run has no world model.
        """
        if not isinstance(self.policy, Agent):
            raise RunError(f"{self.run} has no world model: its policy was trained by an external learner")
        return self.policy

    @property
    def environment(self) -> str:
        """What people call the environment: its id where it has one."""
        choice = self.recipe.choice("env")
        if choice is None:
            return "no environment"
        return str(getattr(choice.config, "id", choice.name))

    @property
    def plays_nowhere(self) -> bool:
        """Whether it learned from recorded data and no environment is named."""
        return without_environment(self.factory)

    def held_out(self) -> list[Recording]:
        """The recorded episodes that nothing learned from.

        Raises:
            RunError: if there are none.
        """
        found = held_out_recordings(self.run, self.agent.observation, self.agent.action)
        if not found:
            raise RunError(f"{self.run} holds no recorded episode back (data.held_out); name an environment instead")
        return found

    @property
    def planner(self) -> str | None:
        """The component that chooses actions."""
        choice = self.recipe.choice("planner") or self.recipe.choice("external")
        return None if choice is None else choice.name


def reopen(
    run: Path | str,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str | None = None,
    plugins: Plugins | None = None,
    accelerator: str = "cpu",
) -> Opened:
    """Open a run's recipe and its newest checkpoint (or the one of that name).

    Args:
        run: the folder.
        overrides: keys of the planner and the environment only, such as `planner=cem`; wiring is checked again.
        checkpoint: such as `checkpoint-00000012`.
        plugins: those to use; loaded if not given.
        accelerator: where the agent computes: `cpu`, `gpu`, or `auto`. Where it was trained does not matter.

    Raises:
        RunError: if there is no run, no usable checkpoint, or the new environment has other spaces.
        RecipeError: for overrides of anything else, for those that do not fit, and for a GPU that is not here.
    """
    where = device(accelerator)
    run = Path(run)
    require_run(run)
    refuse_others(overrides)
    with _no_circle(run):
        opened = _reopened(run, overrides, checkpoint, plugins or load_plugins())
    if isinstance(opened.policy, Agent):
        opened.policy.to(where)
    elif where.type != "cpu":
        raise RunError(f"{run}: its policy was trained by an external learner, which computes on the CPU")
    return opened


_opening: list[Path] = []


@contextmanager
def _no_circle(run: Path) -> Iterator[None]:
    """A run's environment may be the dream of another run, and so on; a stranger's may be its own dream.

    Raises:
        RunError: for a run that is opened in order to open itself, and for a chain that is too long.
    """
    here = run.resolve()
    if here in _opening or len(_opening) >= LONGEST_CHAIN:
        why = "its environment is its own dream" if here in _opening else "too many runs are dreams of one another"
        raise RunError(f"{run} cannot be opened: {why}")
    _opening.append(here)
    try:
        yield
    finally:
        _opening.pop()


def _reopened(run: Path, overrides: Sequence[str], checkpoint: str | None, plugins: Plugins) -> Opened:
    found = checkpoint_of(run, checkpoint)
    locked = prepare(run / LOCK_FILE, plugins=plugins)
    if locked.choice("external") is not None:
        return _external(run, locked, overrides, found, plugins)
    recipe = prepare(run / LOCK_FILE, overrides, plugins=plugins) if overrides else locked
    _refuse_differences(locked, recipe)
    factory = build_environment(recipe)
    if recipe.choice("env") != locked.choice("env"):
        _refuse_other_spaces(build_environment(locked), factory, run)
    agent, _ = load_agent(run, checkpoint=checkpoint, plugins=plugins, overrides=overrides)
    return Opened(run, recipe, agent, factory, found)


def refuse_others(overrides: Sequence[str]) -> None:
    """Refuse overrides of anything but planner and environment, all of them at once.

    Raises:
        RecipeError: naming each key.
    """
    problems = []
    for override in overrides:
        key = override.partition("=")[0].strip().lstrip("+~")
        slot = key.replace("/", ".").partition(".")[0]
        if slot not in SWAPPABLE or ("=" not in override and not override.startswith("~")):
            hint = suggest(slot, SWAPPABLE)
            problems.append(
                Problem(
                    f"{key!r} cannot be changed for an evaluation" + (f" ({hint})" if hint else ""),
                    where="command line",
                    key=key,
                    why="only the planner and the environment of a trained run can be swapped; the rest was trained",
                    fix="use keys such as planner=cem, planner.horizon=20 or env.time_limit=200",
                )
            )
    if problems:
        raise RecipeError(problems)


def _refuse_differences(locked: Recipe, recipe: Recipe) -> None:
    """The same once more, on what the overrides really did."""
    changed = [slot for slot in {**locked.choices, **recipe.choices} if not _same(slot, locked, recipe)]
    changed += _differences(locked.settings.model_dump(), recipe.settings.model_dump())
    if changed:
        what = f"these overrides change {', '.join(sorted(changed))}, which was trained as it is"
        raise RecipeError([Problem(what, where="command line", fix="swap only planner and environment keys")])


def _same(slot: str, locked: Recipe, recipe: Recipe) -> bool:
    before, after = locked.choice(slot), recipe.choice(slot)
    if slot in SWAPPABLE:
        return True
    if before is None or after is None:
        return False
    return before.component.reference == after.component.reference and before.config == after.config


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [key for key in before if before[key] != after[key]]


def _refuse_other_spaces(trained: EnvironmentFactory, factory: EnvironmentFactory, run: Path) -> None:
    for what, theirs, mine in differences(trained, factory):
        raise RunError(
            f"this environment has other {what} than {run} was trained with: {mine}, not {theirs}\n"
            "    fix: evaluate in an environment with the same spaces, or leave `env` away"
        )


def _external(run: Path, locked: Recipe, overrides: Sequence[str], found: Checkpoint, plugins: Plugins) -> Opened:
    recipe = prepare(run / LOCK_FILE, overrides, plugins=plugins) if overrides else locked
    _refuse_differences(locked, recipe)
    factory = build_environment(recipe)
    learner = build_external(recipe, factory.observation, factory.action)
    return Opened(run, recipe, learner.policy(found.part("policy")), factory, found)
