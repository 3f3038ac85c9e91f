"""Agents made of toys, and a planner that remembers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reverie.assembly.agent import Agent
from reverie.contracts import Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie.testing.toys import (
    LinearDynamics,
    ToyActor,
    ToyDecoder,
    ToyEncoder,
    ToyHead,
    toy_action,
    toy_observation,
)


class Counting(SearchPlanner):
    """Plays 0.1 per step of the open episode; remembers the step in `count` (n, 1). A gradient of it must exist."""

    def initial(self, batch_size: int) -> Carry:
        return {"count": torch.zeros(batch_size, 1)}

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        count = carry["count"] + 1
        return 0.1 * count.expand(-1, self.action.size), {"count": count}


class Climbing(Counting):
    """Follows a gradient through the model."""

    differentiates = True

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        with torch.enable_grad():
            plan = torch.zeros(*latent.batch_shape, 1, 2, self.action.size, requires_grad=True)
            score = imagination.score(latent, plan, sampling=sampling)
            (slope,) = torch.autograd.grad(score.sum(), plan)
        return slope[:, 0, 0], carry


MakeAgent = Callable[..., Agent]


@pytest.fixture
def make_agent() -> MakeAgent:
    def make(kind: str = "continuous", planner: Any = None, image: bool = False, **options: Any) -> Agent:
        torch.manual_seed(0)
        observation, action = toy_observation(image=image, second=True), toy_action(kind, 3)
        encoder = ToyEncoder(None, observation)
        dynamics = LinearDynamics(None, encoder.embed_size, action)
        actor = ToyActor(None, dynamics.feature_size, action)
        heads = {name: ToyHead(None, dynamics.feature_size, action) for name in ("reward", "continue", "value")}
        return Agent(
            observation,
            action,
            encoder=encoder,
            dynamics=dynamics,
            decoder=ToyDecoder(None, dynamics.code_size, observation),
            heads=heads,
            actor=actor,
            planner=actor if planner is None else planner(None, action, actor),
            **options,
        )

    return make


@pytest.fixture
def counting() -> type[SearchPlanner]:
    return Counting


@pytest.fixture
def climbing() -> type[SearchPlanner]:
    return Climbing
