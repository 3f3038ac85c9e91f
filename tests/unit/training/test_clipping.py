"""How an update clips each learner's gradient: by its norm, tensor by tensor, both, or not at all."""

from typing import Any

import pytest
import torch
from torch import Tensor

from reverie.contracts import Counters, Sampling, View
from reverie.testing.toys import ToyAgent, toy_batch
from reverie.training.context import LearnerContext
from reverie.training.metrics import Averages
from reverie.training.updates import GradientUpdates

from .conftest import LEARNERS, Options, make_agent

RATE = LEARNERS["model"][0].rate


def moved(**options: Any) -> tuple[ToyAgent, dict[str, Tensor], float]:
    """How far each tensor of the model went, undone by the learning rate: the gradient that it was stepped with."""
    agent, averages = make_agent(), Averages()
    learner = LEARNERS["model"][0](Options(trains=LEARNERS["model"][1], **options), agent)
    updates = GradientUpdates(agent, {"model": learner}, {"model": list(learner.optimizers())})
    view = View(toy_batch(3, 6, seed=3), agent, Sampling(generators=[torch.Generator().manual_seed(1)]))
    before = {name: value.detach().clone() for name, value in agent.named_parameters()}
    context: Any = LearnerContext("model", agent, None, None, Counters(), "train", Sampling(), averages, lambda: False)
    updates.update(["model"], view, {"model": context})
    gradients = {
        name: (before[name] - value.detach()) / RATE
        for name, value in agent.named_parameters()
        if not torch.equal(before[name], value)
    }
    agent.load_state_dict(before, strict=False)
    return agent, gradients, averages.take()["model/grad_norm"]


def total(gradients: dict[str, Tensor]) -> float:
    return float(torch.stack([one.norm() for one in gradients.values()]).norm())


def test_null_does_not_clip() -> None:
    _, gradients, logged = moved(grad_clip=None)
    assert total(gradients) == pytest.approx(logged, rel=1e-3)
    assert logged > 0.1


def test_each_tensor_is_clipped_by_itself() -> None:
    agent, plain, logged = moved(grad_clip=None)
    _, clipped, logged_too = moved(grad_clip=None, adaptive_clip=0.01)
    assert logged_too == pytest.approx(logged), "what is logged is the norm before clipping"
    weights = dict(agent.named_parameters())
    cut = set()
    for name, gradient in clipped.items():
        allowed = 0.01 * max(1e-3, float(weights[name].detach().norm()))
        length = float(plain[name].norm())
        assert float(gradient.norm()) == pytest.approx(min(allowed, length), rel=2e-2), name
        torch.testing.assert_close(
            gradient / gradient.norm(), plain[name] / plain[name].norm(), rtol=0, atol=2e-2, msg=name
        )
        cut |= {name} if allowed < length else set()
    assert cut


def test_both_clip_one_after_the_other() -> None:
    _, clipped, logged = moved(grad_clip=None, adaptive_clip=0.01)
    _, both, logged_too = moved(grad_clip=0.5 * total(clipped), adaptive_clip=0.01)
    assert logged_too == pytest.approx(logged)
    assert total(both) == pytest.approx(0.5 * total(clipped), rel=2e-2)
