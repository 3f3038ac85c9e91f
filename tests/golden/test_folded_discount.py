"""Correctness note 15: a discount that is folded into the continue target takes the place of the option `discount`."""

from typing import Any

import pytest
import torch

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Sampling, Transition, View
from reverie.testing.toys import ToyAgent, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.learner import ActorCritic

from .test_actor_critic import DISCOUNT, LAM, Adds, B, H, Linear, Scaled, T, recorded
from .test_actor_critic import make as made


class Folded(Scaled):
    """The continue head that is learned from targets of DISCOUNT where an episode goes on."""

    def forward(self, transition: Transition) -> Any:
        distribution = super().forward(transition)
        distribution.mean = DISCOUNT * distribution.mean
        return distribution


@pytest.mark.parametrize(("kind", "gradient"), [("discrete", "reinforce"), ("continuous", "dynamics")])
def test_a_discount_in_the_continue_target_takes_the_place_of_the_option(kind: str, gradient: str) -> None:
    """Returns, weights and losses are the same numbers either way; with both, or neither, they are others."""

    def losses(folded: bool, discount: float) -> dict[str, torch.Tensor]:
        agent, learner, view, ctx = made(kind, gradient=gradient, discount=discount)
        if folded:
            agent.heads["continue"] = Folded(1.0, logistic=True).double()
        return recorded(learner, view, ctx, kind)[0]

    option, target = losses(False, DISCOUNT), losses(True, 1.0)
    for name, wanted in option.items():
        torch.testing.assert_close(target[name], wanted)
    for wrong in (losses(True, DISCOUNT), losses(False, 1.0)):
        assert not torch.allclose(wrong["critic"], option["critic"], rtol=1e-3)


class Always(Scaled):
    """One number, whatever it reads."""

    def __init__(self, number: float) -> None:
        super().__init__(0.0)
        self.number = number

    def forward(self, transition: Transition) -> Any:
        distribution = super().forward(transition)
        distribution.mean = torch.full_like(distribution.mean, self.number)
        return distribution


@pytest.mark.parametrize(("sure", "discount"), [(1.0, DISCOUNT), (DISCOUNT, 1.0)])
def test_a_sure_continuation_is_worth_the_discount_and_no_more(sure: float, discount: float) -> None:
    """By hand: reward 1 for ever, values of 1 / (1 - 0.9) = 10: every return is 10, however the discount is given."""
    heads = {"reward": Always(1.0), "continue": Always(sure), "value": Always(10.0)}
    agent = ToyAgent(action=toy_action("discrete", 2), dynamics=Adds(), heads=heads, actor=Linear(True)).double()
    config = DreamerConfig(horizon=H, discount=discount, lam=LAM, starts=None).resolved(agent.slots())
    sampling = Sampling(generators=[torch.Generator().manual_seed(5)])
    seen: dict[str, float] = {}

    class Listening(Rehearsal):
        def log(self, name: str, value: Any) -> None:
            seen[name] = float(value)

    view = View(toy_batch(B, T, action=agent.action), agent, sampling)
    ActorCritic(config, agent).double().losses(view, Listening(agent, sampling, agent.imagination))
    assert seen["return"] == pytest.approx(10.0)
