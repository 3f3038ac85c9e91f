"""When something ends: the first limit to be reached, counted by our own counters."""

from __future__ import annotations

from dataclasses import asdict, replace

from reverie.contracts.learner import Counters
from reverie.recipes.schema import Budget, Until


def limits(budget: Until | Budget) -> dict[str, float]:
    """The limits that are given, by counter name; minutes are turned into seconds."""
    given = {name: float(value) for name, value in budget.model_dump().items() if value is not None}
    if "minutes" in given:
        given["seconds"] = given.pop("minutes") * 60
    return given


def fractions(budget: Until | Budget, counters: Counters, began: Counters | None = None) -> dict[str, float]:
    """How much of each limit is used up since `began`, 1 or more where it is reached."""
    now, then = asdict(counters), asdict(began or Counters())
    return {name: (now[name] - then[name]) / limit for name, limit in limits(budget).items()}


def reached(budget: Until | Budget, counters: Counters, began: Counters | None = None) -> str | None:
    """The name of a counter whose limit is reached, or None."""
    for name, fraction in fractions(budget, counters, began).items():
        if fraction >= 1:
            return name
    return None


def copied(counters: Counters) -> Counters:
    """A copy that later changes do not touch."""
    return replace(counters)
