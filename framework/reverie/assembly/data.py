"""Recorded data in a recipe: its source, and what stands in the environment's place where a run has only data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import RunError
from reverie.recipes.data_facts import DataFacts, EntryFacts

if TYPE_CHECKING:
    from reverie.contracts.data import DataSource


class NoEnvironment(EnvironmentFactory):
    """The spaces of recorded data, where a recipe names no environment: nothing can be played."""

    def __init__(self, observation: ObservationSpec, action: ActionSpec) -> None:
        super().__init__(None)
        self.observation, self.action = observation, action

    def make(self, index: int = 0, *, render: bool = False) -> NoReturn:
        raise RunError("this run learned from recorded data and has no environment to play in; name one: env=cartpole")


def without_environment(factory: EnvironmentFactory) -> bool:
    """Whether nothing can be played."""
    return isinstance(factory, NoEnvironment)


def absent_environment(source: DataSource | DataFacts) -> NoEnvironment:
    """What stands in the environment's place, with the spaces of data or of what a lock knows of it."""
    if isinstance(source, DataFacts):
        entries = {key: _spec(entry) for key, entry in source.observation.items()}
        return NoEnvironment(ObservationSpec(entries), ActionSpec(source.actions, source.action_size))
    return NoEnvironment(source.observation, source.action)


def spaces_of(observation: ObservationSpec, action: ActionSpec) -> dict[str, Any]:
    """The part of `DataFacts` that spaces decide."""
    entries = {
        key: EntryFacts(shape=spec.shape, dtype=spec.dtype, low=_bound(spec.low), high=_bound(spec.high))
        for key, spec in observation.items()
    }
    return {"observation": entries, "actions": action.kind, "action_size": action.size}


def _bound(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spec(entry: EntryFacts) -> ArraySpec:
    low = -math.inf if entry.low is None else entry.low
    return ArraySpec(tuple(entry.shape), entry.dtype, low, math.inf if entry.high is None else entry.high)
