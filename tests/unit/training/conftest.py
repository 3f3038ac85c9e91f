"""Small learners and fakes of replay and collector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.contracts import AgentParts, Context, Counters, EpisodeResult, Learner, Transition, View
from reverie.extension.config import LearnerConfig
from reverie.recipes.schema import Settings
from reverie.testing.toys import ToyAgent, toy_batch
from reverie.training.environments import VectorEnvironments
from reverie.training.metrics import Averages
from reverie.training.stages import StageCursor
from reverie.training.ticks import Ticker
from reverie.training.updates import GradientUpdates


class Options(LearnerConfig):
    """Options of the learners below."""


class SlotLearner(Learner):
    """Steps its slots by plain gradient descent; subclasses say on which loss."""

    rate = 0.001

    def __init__(self, config: Any, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self.optimizer = torch.optim.SGD(self.trained(agent), lr=self.rate)
        self.calls: list[str] = []
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.optimizer]

    def after_step(self, ctx: Context) -> None:
        self.calls.append("after_step")
        self.steps += 1


class ModelLearner(SlotLearner):
    """Trains the dynamics and the encoder by the dynamics' own losses."""

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        self.calls.append("losses")
        return view.agent.dynamics.losses(view)


class RewardLearner(SlotLearner):
    """Trains the reward head on detached features."""

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        self.calls.append("losses")
        latent = view.observed.train.detach()
        distribution = view.agent.heads["reward"](Transition(None, None, latent))
        return {"reward": -distribution.log_prob(view.batch.reward)}


class ValueLearner(RewardLearner):
    """Trains the value head with a backward of its own; looks at the features without detaching them."""

    own_backward = True

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        self.calls.append("losses")
        self.seen = view.observed.train.features.requires_grad
        distribution = view.agent.heads["value"](Transition(None, None, view.observed.train))
        return {"value": -distribution.log_prob(view.batch.reward)}


class Evolution(Learner):
    """A learner without gradients: adds one to the actor's weights."""

    def update(self, ctx: Context) -> None:
        with torch.no_grad():
            for parameter in ctx.agent.module("actor").parameters():
                parameter += 1
        ctx.log("best", float(ctx.counters.generations))


LEARNERS: Mapping[str, tuple[type[Learner], tuple[str, ...]]] = {
    "model": (ModelLearner, ("encoder", "dynamics")),
    "reward": (RewardLearner, ("heads/reward",)),
    "value": (ValueLearner, ("heads/value",)),
    "evolution": (Evolution, ("actor",)),
}


def make_agent(seed: int = 0) -> ToyAgent:
    torch.manual_seed(seed)
    agent = ToyAgent()
    agent.normalizers = nn.Module()
    return agent


def make_learners(agent: ToyAgent, *names: str, clip: float = 1e6) -> dict[str, Learner]:
    return {name: LEARNERS[name][0](Options(trains=LEARNERS[name][1], grad_clip=clip), agent) for name in names}


class FakeReplay:
    """Gives the batch whose number the generator draws; empty until `ready` rows are there."""

    def __init__(self, ready: int = 0) -> None:
        self.steps = 0
        self.ready = ready
        self.drawn: list[int] = []

    def can_sample(self, batch_size: int, length: int) -> bool:
        return self.steps >= self.ready

    def sample(self, batch_size: int, length: int, rng: Any) -> Any:
        self.drawn.append(int(rng.integers(1000)))
        return toy_batch(batch_size, length, seed=self.drawn[-1])


class FakeCollector:
    """Two environments with action repeat 2; an episode ends every 5 vector steps."""

    def __init__(self, replay: FakeReplay) -> None:
        self.replay = replay
        self.calls: list[str] = []

    def collect(self, policy: str, steps: int | None = None, episodes: int | None = None) -> Any:
        assert steps == 1
        self.calls.append(policy)
        self.replay.steps += 2
        done = len(self.calls) % 5 == 0
        finished = [EpisodeResult(float(len(self.calls)), 5, 0, True)] if done else []
        return SimpleNamespace(agent_steps=2, frames=4, finished=finished)


def make_ticker(
    *stages: dict[str, Any],
    learners: tuple[str, ...] = ("model", "reward"),
    ready: int = 0,
    stop: Any = lambda: False,
    **settings: Any,
) -> Ticker:
    given = Settings.model_validate({"stages": stages, "replay": {"batch_size": 2, "length": 5}, **settings})
    agent, replay = make_agent(), FakeReplay(ready)
    made = make_learners(agent, *learners)
    updates = GradientUpdates(agent, made, {name: list(learner.optimizers()) for name, learner in made.items()})
    return Ticker(
        settings=given,
        agent=agent,
        updates=updates,
        replay=replay,
        collector=FakeCollector(replay),
        environments=None,
        counters=Counters(),
        cursor=StageCursor(given),
        averages=Averages(),
        stop=stop,
    )


@pytest.fixture
def agent() -> ToyAgent:
    return make_agent()


@pytest.fixture
def vector() -> Any:
    """Makes vector environments that are closed in the end."""
    opened: list[VectorEnvironments] = []

    def make(factory: Any, count: int = 2, workers: Any = "none", **options: Any) -> VectorEnvironments:
        opened.append(VectorEnvironments(factory, count, workers, **options))
        return opened[-1]

    yield make
    for environments in opened:
        environments.close()
