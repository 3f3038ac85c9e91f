"""Correctness notes 13 and 17: which loss trains what, each loss alone, on every route that the options allow."""

from typing import Any

import pytest
import torch

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Sampling, View
from reverie.testing.toys import ToyAgent, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.learner import ActorCritic

OWN = {"actor": {"actor"}, "critic": {"heads/value"}, "replay_critic": {"heads/value"}}


def reached(kind: str, loss: str, **options: Any) -> set[str]:
    """The slots that the gradient of one loss alone arrives at."""
    torch.manual_seed(0)
    agent = ToyAgent(action=toy_action(kind, 3))
    config = DreamerConfig(**{"starts": 8, "horizon": 5, **options}).resolved(agent.slots())
    learner = ActorCritic(config, agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    view = View(toy_batch(4, 7, action=agent.action), agent, sampling)
    learner.losses(view, Rehearsal(agent, sampling, agent.imagination))[loss].mean().backward()
    assert all(parameter.grad is None for parameter in learner.parameters())
    return {
        slot
        for slot in agent.slots()
        if any(p.grad is not None and bool(p.grad.any()) for p in agent.module(slot).parameters())
    }


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("gradient", ["dynamics", "reinforce"])
@pytest.mark.parametrize("targets", ["online", "slow"])
@pytest.mark.parametrize("loss", ["actor", "critic"])
def test_each_loss_alone_trains_its_own_slot_and_no_other(kind: str, gradient: str, targets: str, loss: str) -> None:
    assert reached(kind, loss, gradient=gradient, targets=targets) == OWN[loss]


@pytest.mark.parametrize("targets", ["online", "slow"])
def test_the_critic_on_replayed_states_reaches_the_model_only_on_request(targets: str) -> None:
    given = {"targets": targets, "replay_value": 0.3}
    assert reached("discrete", "replay_critic", **given) == OWN["replay_critic"]
    assert reached("discrete", "critic", **given, replay_value_into_model=True) == OWN["critic"]
    into = reached("discrete", "replay_critic", **given, replay_value_into_model=True)
    assert into == {"encoder", "dynamics", "heads/value"}
