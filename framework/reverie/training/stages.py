"""Where a run stands in its list of stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from reverie.contracts.learner import Counters
from reverie.recipes.schema import Settings, Stage
from reverie.training.budgets import copied, fractions, limits, reached


class StageCursor:
    """The stage that a run is in, and what the counters were when it began.

    Args:
        settings: whose stages run in order, rounds written out, and whose run-wide budget caps them all.

    `label` is the title of the stage in which the latest tick ran, for lines written at a border between two stages.
    """

    def __init__(self, settings: Settings) -> None:
        self.plan = list(settings.flat_stages())
        self.budget = limits(settings.budget)
        self.until = [limits(stage.until) for _, stage in self.plan]
        self.index = 0
        self.began = Counters()
        self.capped: str | None = None
        self.label = ""

    @property
    def finished(self) -> bool:
        """No stage is left, or the run-wide budget is spent."""
        return self.capped is not None or self.index >= len(self.plan)

    @property
    def stage(self) -> Stage:
        """The current stage.

        Raises:
            IndexError: if the run is finished.
        """
        return self.plan[self.index][1]

    @property
    def title(self) -> str:
        """The stage's name, with its round where stages repeat, for people."""
        if self.finished:
            return "done"
        number, stage = self.plan[self.index]
        return f"{stage.name} (round {number + 1})" if any(entry[0] for entry in self.plan) else stage.name

    def ended(self, counters: Counters) -> str | None:
        """The limit that ends the current stage (or the run) now, or None."""
        return reached(self.budget, counters) or reached(self.until[self.index], counters, self.began)

    def learned_enough(self, counters: Counters) -> bool:
        """Whether a limit that learning itself counts ends the stage or the run now.

        In stages that collect, the steps collected last are still learned from when they were the last ones.
        """
        ended = self.ended(counters)
        if ended not in ("env_steps", "agent_steps", "episodes") or self.stage.collect.policy == "none":
            return ended is not None
        learning = ("updates", "generations", "seconds")
        mine, all_of = self.until[self.index], self.budget
        return bool(
            reached({name: mine[name] for name in learning if name in mine}, counters, self.began)
            or reached({name: all_of[name] for name in learning if name in all_of}, counters)
        )

    def nothing_learned(self, counters: Counters) -> str | None:
        """What to tell people about a run that ended before any learner of it made an update; None for all others."""
        learning = [stage.name for _, stage in self.plan if stage.learners]
        if not learning or counters.updates or counters.generations:
            return None
        more = f"raise budget.{self.capped}" if self.capped else f"raise stages.{learning[0]}.until"
        return (
            f"nothing was learned: the run ended after {counters.env_steps} environment steps, before the first update "
            f"of the stage '{learning[0]}'; {more}, shorten what comes before it, or, where no environment has yet "
            "given a whole chunk, shorten replay.length"
        )

    def advance(self, counters: Counters) -> None:
        """Go on to the next stage, or to the end if the run-wide budget is spent."""
        self.capped = reached(self.budget, counters)
        self.index += 1
        self.began = copied(counters)

    def absences(self) -> dict[str, set[str]]:
        """Who learned since each learner of the current stage last did; nobody for those of the stage before it."""
        since: dict[str, set[str]] = {}
        for name in () if self.finished else self.stage.learners:
            since[name] = set()
            for _, stage in reversed(self.plan[: self.index]):
                if name in stage.learners:
                    break
                since[name] |= {*stage.learners}
        return since

    def fraction(self, counters: Counters) -> float:
        """How much of the current stage is done, in [0, 1], by whichever limit is nearest."""
        if self.finished:
            return 1.0
        stage, run = fractions(self.until[self.index], counters, self.began), fractions(self.budget, counters)
        return min(1.0, max([*stage.values(), *run.values()], default=0.0))

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"index": self.index, "began": asdict(self.began), "capped": self.capped, "label": self.label}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo everything since `state()`."""
        self.index = int(state["index"])
        if not 0 <= self.index <= len(self.plan):
            raise ValueError(f"there is no stage {self.index}")
        self.began = Counters(**state["began"])
        self.capped = state["capped"]
        self.label = str(state["label"])
