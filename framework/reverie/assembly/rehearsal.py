"""What the probe needs to rehearse a training step: a synthetic batch and a context without a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reverie.contracts.agent import AgentParts
from reverie.contracts.batch import Batch
from reverie.contracts.behaviour import Imagination
from reverie.contracts.freezing import frozen
from reverie.contracts.learner import BudgetedEnvironments, Counters, EpisodeResult
from reverie.contracts.policy import Policy
from reverie.contracts.sampling import Sampling
from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.contracts.view import View


def distinct_sizes(agent: AgentParts) -> tuple[int, int]:
    """B and T that differ from each other, from 1, and from every number of members."""
    taken = {head.members for head in agent.heads.values()} | {agent.dynamics.members}
    B, T = [size for size in range(3, 12) if size not in taken][:2]
    return B, T + 2 if T + 2 not in taken else T


def synthetic_batch(observation: ObservationSpec, action: ActionSpec, B: int, T: int) -> Batch:
    """Random rows in the standard form, with an episode border inside the second chunk and a true end before it."""
    generator = torch.Generator().manual_seed(0)
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[0, 0] = is_first[1, T // 2] = True
    is_last = torch.zeros(B, T, dtype=torch.bool)
    is_last[1, T // 2 - 1] = True
    keep = (~is_first).float()  # (B, T)
    return Batch(
        obs={key: _entry(spec, B, T, generator) for key, spec in observation.items()},
        action=_actions(action, B, T, generator) * keep[..., None],
        reward=torch.randn(B, T, generator=generator) * keep,
        is_first=is_first,
        is_terminal=is_last.clone(),
        is_last=is_last,
        step_id=torch.arange(B * T).reshape(B, T),
    )


def _entry(spec: ArraySpec, B: int, T: int, generator: torch.Generator) -> Tensor:
    if spec.is_image:
        return torch.randint(0, 256, (B, T, *spec.shape), generator=generator, dtype=torch.uint8)
    return torch.randn(B, T, *spec.shape, generator=generator).clamp(max(spec.low, -10.0), min(spec.high, 10.0))


def _actions(action: ActionSpec, B: int, T: int, generator: torch.Generator) -> Tensor:
    if action.is_discrete:
        return nn.functional.one_hot(torch.randint(action.size, (B, T), generator=generator), action.size).float()
    return torch.rand(B, T, action.size, generator=generator) * 2 - 1  # (B, T, A)


class NoEnvironments:
    """Real environments are out of reach of a rehearsal."""

    def rollout(self, policy: Policy, seeds: Sequence[int], *, explore: bool = False) -> list[EpisodeResult]:
        raise RuntimeError("a learner with gradient losses asked for real episodes while its losses were built")


@dataclass
class Rehearsal:
    """A `Context` that logs nowhere and counts nothing."""

    agent: AgentParts
    sampling: Sampling
    imagination: Imagination
    environments: BudgetedEnvironments = field(default_factory=NoEnvironments)
    counters: Counters = field(default_factory=Counters)
    stage: str = "probe"

    def log(self, name: str, value: float | Tensor) -> None:
        """Nothing is written."""

    def should_stop(self) -> bool:
        """Never."""
        return False

    def frozen(self, slots: Sequence[str]) -> AbstractContextManager[None]:
        """As in a run."""
        return frozen([self.agent.module(slot) for slot in slots])

    def experience(self, rows: int, length: int) -> View:
        """Random rows in the standard form."""
        batch = synthetic_batch(self.agent.observation, self.agent.action, rows, length)
        return View(batch, self.agent, self.sampling)

    def gather(self, value: Tensor) -> Tensor:
        """There is one process."""
        return value.detach()
