"""How the tests of known models judge them."""

from __future__ import annotations

from typing import Any

from reverie.evaluation.recording import Recording
from reverie.evaluation.world_model import WorldModelReport, judge

from .worlds import episodes

CONTEXT = 5
Pairs = list[tuple[Recording, int]]


def starts_of(recordings: list[Recording]) -> Pairs:
    """Every row that something follows, from the context on; the last such one of short episodes."""
    found = []
    for recording in recordings:
        first = min(CONTEXT - 1, len(recording) - 2)
        found += [(recording, t) for t in range(first, len(recording) - 1)]
    return found


def judged(agent: Any, recordings: list[Recording] | None = None, **options: Any) -> WorldModelReport:
    return judge(agent, recordings or episodes(), starts=1000, policy_starts=1000, context=CONTEXT, **options)
