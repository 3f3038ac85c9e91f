"""When something ends: the first limit to be reached, counted by our own counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reverie.contracts.learner import Counters
from reverie.recipes.schema import Budget, Until

Limits = Mapping[str, float]
"""Counter name to the number at which something ends."""

_NOTHING = Counters()


def limits(budget: Until | Budget) -> dict[str, float]:
    """The limits that are given, by counter name; minutes are turned into seconds."""
    given = {name: float(value) for name, value in budget.model_dump().items() if value is not None}
    if "minutes" in given:
        given["seconds"] = given.pop("minutes") * 60
    return given


def fractions(limits: Limits, counters: Counters, began: Counters = _NOTHING) -> dict[str, float]:
    """How much of each limit is used up since `began`, 1 or more where it is reached."""
    return {name: (getattr(counters, name) - getattr(began, name)) / limit for name, limit in limits.items()}


def reached(limits: Limits, counters: Counters, began: Counters = _NOTHING) -> str | None:
    """The name of a counter whose limit is reached, or None."""
    for name, limit in limits.items():
        if getattr(counters, name) - getattr(began, name) >= limit:
            return name
    return None


def copied(counters: Counters) -> Counters:
    """A copy that later changes do not touch."""
    return replace(counters)
