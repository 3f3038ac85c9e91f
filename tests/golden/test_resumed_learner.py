"""Correctness notes 16 and 18: a learner that is saved and resumed goes on as if nothing had happened."""

import copy
from typing import Any

import torch

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Sampling, View
from reverie.testing.toys import ToyAgent, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.learner import ActorCritic


class Run:
    """An agent with an actor-critic on a fixed batch; update k draws noise of its own."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.agent = ToyAgent(action=toy_action("discrete", 3))
        with torch.no_grad():
            self.agent.heads["reward"].linear.weight.mul_(100)  # so that returns range over much more than 1
        options: dict[str, Any] = {"starts": None, "horizon": 4, "return_decay": 0.5, "slow_rate": 0.1}
        self.learner = ActorCritic(DreamerConfig(**options).resolved(self.agent.slots()), self.agent)
        self.optimizers = self.learner.optimizers()

    def update(self, k: int) -> None:
        sampling = Sampling(generators=[torch.Generator().manual_seed(k)])
        view = View(toy_batch(3, 5, action=self.agent.action), self.agent, sampling)
        ctx = Rehearsal(self.agent, sampling, self.agent.imagination)
        total = sum(loss.mean() for loss in self.learner.losses(view, ctx).values())
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.learner.after_step(ctx)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        parts = {"agent": self.agent.state_dict(), "learner": self.learner.state_dict(), "optimizers": optimizers}
        return copy.deepcopy(parts)

    def load(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.learner.load_state_dict(state["learner"])
        for optimizer, one in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(one)

    def everything(self) -> dict[str, torch.Tensor]:
        slow = {f"slow.{name}": value for name, value in self.learner.slow.module.named_parameters()}
        return {**dict(self.agent.state_dict()), **slow, "range": self.learner.scale.range()}


def test_a_resumed_learner_goes_on_with_its_slow_copy_and_its_scale() -> None:
    run = Run(seed=0)
    for k in range(4):
        run.update(k)
    critic, slow = run.agent.heads["value"].linear.weight, run.learner.slow.module.linear.weight
    assert float(run.learner.scale.range()) > 2
    assert not torch.allclose(critic, slow), "the copy has to lag behind, or the test shows nothing"
    resumed = Run(seed=1)
    resumed.load(run.state())
    assert torch.equal(resumed.learner.slow.module.linear.weight, slow)
    assert torch.equal(resumed.learner.scale.range(), run.learner.scale.range())
    for k in range(4, 7):
        run.update(k)
        resumed.update(k)
    there = resumed.everything()
    for name, value in run.everything().items():
        assert torch.equal(there[name], value), name
