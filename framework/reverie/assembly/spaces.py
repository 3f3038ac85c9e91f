"""What two environments differ in, said to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from reverie.recipes.recipe import Recipe


def differences(trained: EnvironmentFactory, here: EnvironmentFactory) -> Iterator[tuple[str, str, str]]:
    """(what, in training, here) for observations and actions that are not the same."""
    seen = _entries(trained.observation), _entries(here.observation)
    if seen[0] != seen[1]:
        yield ("observations", *seen)
    if trained.action != here.action:
        yield ("actions", _actions(trained.action), _actions(here.action))


def beside_run(recipe: Recipe, run: str) -> tuple[str, str]:
    """(why, fix) of weights of `run` that do not fit: its spaces beside those of `recipe`, or that sizes of components
    differ. Both empty if the run's environment cannot be made here."""
    from reverie.assembly.build import build_environment
    from reverie.recipes.from_run import LOCK_FILE
    from reverie.recipes.prepare import prepare

    try:
        locked = prepare(f"{run}/{LOCK_FILE}", plugins=recipe.plugins)
        pairs = list(differences(build_environment(locked), build_environment(recipe)))
    except ReverieError:
        return "", ""
    told = [f"its {what} are {theirs}, those here {mine}" for what, theirs, mine in pairs]
    why = "; ".join(told) or "the environments have the same spaces, so the options of components differ"
    fix = "train in an environment with the spaces of that run" if told else "give the slots beside it that run's sizes"
    return why, f"{fix}, or leave `from_run` away"


def _entries(observation: ObservationSpec) -> str:
    return ", ".join(f"{key} {'x'.join(map(str, spec.shape)) or '1'}" for key, spec in observation.items())


def _actions(action: ActionSpec) -> str:
    return f"{action.size} {'discrete' if action.is_discrete else 'continuous'}"
