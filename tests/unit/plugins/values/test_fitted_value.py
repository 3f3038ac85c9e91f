"""Value iteration in a model: one round by hand, and many of them against dynamic programming."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import ActionSpec, Batch, Distribution, Head, Sampling, Transition, View
from reverie.testing.toys import LinearDynamics, ToyAgent, ToyLatent, ToyNormal, point_latent
from reverie_plugins.values.config import FittedValueConfig
from reverie_plugins.values.fitted import FittedValue, plans_from

SQUARES, DISCOUNT = 6, 0.8


class Corridor(LinearDynamics):
    """Squares 0..5; action 0 goes left, action 1 goes right. Nothing is beyond the left end; square 5 is the exit."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.feature_size = self.code_size = self.size = 1
        self.members = None

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return point_latent((state.x + action[:, 1:] - action[:, :1]).clamp(0, SQUARES - 1))


class Known(Head):
    def __init__(self, function: Any) -> None:
        nn.Module.__init__(self)
        self.function = function

    def forward(self, transition: Transition) -> Distribution:
        assert transition.after is not None
        return ToyNormal(self.function(transition.after.features[..., 0]), 1.0, 0)


class Table(Head):
    """A value for each square."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.values = nn.Parameter(torch.zeros(SQUARES))

    def forward(self, transition: Transition) -> Distribution:
        assert transition.after is not None
        return ToyNormal(self.values[transition.after.features[..., 0].round().long()], 1.0, 0)


def corridor() -> tuple[ToyAgent, View]:
    """Every step costs 1; the exit pays 10 and ends the task. One row that stands on each square once."""
    heads: dict[str, Head] = {
        "reward": Known(lambda x: torch.where(x == SQUARES - 1, 10.0, -1.0)),
        "continue": Known(lambda x: (x < SQUARES - 1).float()),
        "value": Table(),
    }
    agent = ToyAgent(action=ActionSpec("discrete", 2), dynamics=Corridor(), heads=heads)
    none, ended = torch.zeros(1, SQUARES, dtype=torch.bool), torch.zeros(1, SQUARES, dtype=torch.bool)
    ended[0, -1] = True
    batch = Batch({}, torch.zeros(1, SQUARES, 2), torch.zeros(1, SQUARES), none, ended, ended, none.long())
    view = View(batch, agent, Sampling())
    squares = point_latent(torch.arange(SQUARES).float()[None, :, None])
    view._observed = type("Seen", (), {"states": squares})()  # type: ignore[assignment]
    return agent, view


def dynamic_programming() -> list[float]:
    values = [0.0] * SQUARES
    for _ in range(100):
        for square in range(SQUARES - 1):
            options = []
            for move in (-1, 1):
                after = min(max(square + move, 0), SQUARES - 1)
                ends = after == SQUARES - 1
                options.append(10.0 if ends else -1 + DISCOUNT * values[after])
            values[square] = max(options)
    return values


@pytest.mark.parametrize("horizon", [1, 2])
def test_rounds_of_it_are_dynamic_programming(horizon: int) -> None:
    agent, view = corridor()
    config = FittedValueConfig(discount=DISCOUNT, horizon=horizon, candidates=4, starts=SQUARES)
    learner = FittedValue(config.resolved(agent.slots()), agent)
    optimizer = torch.optim.SGD(agent.heads["value"].parameters(), lr=0.5)
    for _ in range(60):
        ctx = Rehearsal(agent, Sampling(generators=[torch.Generator().manual_seed(0)]), Imagination(agent))
        loss = learner.losses(view, ctx)["value"]
        assert loss.shape == (SQUARES,)
        assert float(loss.detach()[view_order(ctx) == SQUARES - 1]) == 0.0, "the exit has no value to learn"
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    torch.testing.assert_close(agent.heads["value"].values, torch.tensor(dynamic_programming()), rtol=1e-3, atol=1e-3)


def view_order(ctx: Rehearsal) -> Tensor:
    """The squares in the order in which the learner drew them."""
    return Sampling(generators=[torch.Generator().manual_seed(0)]).rand((1, SQUARES)).topk(SQUARES, dim=1).indices[0]


def test_processes_share_the_starts() -> None:
    agent, view = corridor()
    learner = FittedValue(FittedValueConfig(starts=4).resolved(agent.slots()), agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(0)], shard=(1, 2))
    assert learner._starts(view, sampling)[1].shape == (2,)


def test_all_plans_where_there_are_few_and_random_ones_where_there_are_many() -> None:
    like, sampling = point_latent(torch.zeros(3, 1)), Sampling(generators=[torch.Generator().manual_seed(0)])
    every = plans_from(ActionSpec("discrete", 2), 3, 8, 3, like, sampling)
    assert every.shape == (3, 8, 3, 2)
    assert len({tuple(plan.flatten().tolist()) for plan in every[1]}) == 8
    some = plans_from(ActionSpec("discrete", 3), 3, 50, 4, like, sampling)
    assert some.shape == (3, 50, 4, 3)
    assert torch.equal(some.sum(-1), torch.ones(3, 50, 4))
    free = plans_from(ActionSpec("continuous", 2), 3, 500, 2, like, sampling)
    assert free.shape == (3, 500, 2, 2)
    assert float(free.abs().max()) <= 1
    assert float(free.abs().mean()) == pytest.approx(0.5, abs=0.03)
