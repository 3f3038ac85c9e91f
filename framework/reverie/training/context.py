"""What a learner sees of the run besides its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor

from reverie.contracts.agent import AgentParts
from reverie.contracts.behaviour import Imagination
from reverie.contracts.freezing import frozen
from reverie.contracts.learner import BudgetedEnvironments, Counters
from reverie.contracts.sampling import Sampling
from reverie.contracts.view import View
from reverie.training.ddp import ALONE, World
from reverie.training.metrics import Averages


@dataclass
class LearnerContext:
    """`reverie.contracts.Context` of one learner in one update."""

    learner: str
    agent: AgentParts
    imagination: Imagination
    environments: BudgetedEnvironments
    counters: Counters
    stage: str
    sampling: Sampling
    averages: Averages
    stop: Callable[[], bool]
    world: World = ALONE
    remember: Callable[[int, int], View] | None = None

    def log(self, name: str, value: float | Tensor) -> None:
        """Record a number under `<learner>/<name>`."""
        self.averages.add(f"{self.learner}/{name}", value)

    def should_stop(self) -> bool:
        """True when long work should end soon."""
        return self.stop()

    def frozen(self, slots: Sequence[str]) -> AbstractContextManager[None]:
        """Build a graph through these slots' parameters without training them."""
        return frozen([self.agent.module(slot) for slot in slots])

    def experience(self, rows: int, length: int) -> View:
        """Chunks of the replay."""
        if self.remember is None:
            raise RuntimeError("this context has no replay")
        return self.remember(rows, length)

    def gather(self, value: Tensor) -> Tensor:
        """(N, ...) -> (world * N, ...), without gradients."""
        return self.world.gather(value)
