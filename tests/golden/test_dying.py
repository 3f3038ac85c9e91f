"""Correctness note 19 on a cliff: every step costs, falling hurts, and whoever forgets the last reward will jump.

Positions 0, 1, 2 lie on the cliff, 3 is the goal, 4 the ground. Walking leads one position on (or, on an endless cliff,
stays on position 2), jumping to the ground. Rewards on arrival: -1 on the cliff, +9 in the goal, -5 on the ground.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Dynamics, Head, Latent, Observed, Sampling, Trajectory, Transition, View
from reverie.testing.toys import ToyAgent, ToyHead, ToyNormal, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.learner import ActorCritic

PLACES, GOAL, GROUND = 5, 3, 4
REWARD = torch.tensor([-1.0, -1.0, -1.0, 9.0, -5.0])
GOES_ON = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
WALK, JUMP = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


@dataclass(frozen=True)
class Place(Latent):
    x: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


def places(*numbers: int) -> Place:
    return Place(torch.eye(PLACES)[list(numbers)])


class Cliff(Dynamics[Place]):
    """Exact. Filtered states go round the three positions of the cliff, whatever was observed."""

    feature_size = code_size = PLACES

    def __init__(self, endless: bool = False) -> None:
        nn.Module.__init__(self)
        self.walk = torch.eye(PLACES)[[1, 2, 2 if endless else GOAL, 0, 0]]  # what comes after an end is made up

    def initial(self, batch_size: int) -> Place:
        return places(*[0] * batch_size)

    def observe(self, embed: Any, action: Any, is_first: Tensor, state: Any = None, *, sampling: Any) -> Any:
        x = torch.eye(PLACES)[torch.arange(is_first.numel()) % 3].reshape(*is_first.shape, PLACES)
        states = Place(x)
        return Observed(states=states, priors=states, train=states, last=states[:, -1])

    def imagine(self, state: Place, action: Tensor, sampling: Sampling) -> Place:
        jumped = torch.eye(PLACES)[GROUND].expand_as(state.x)
        return Place(action[..., :1] * (state.x @ self.walk) + action[..., 1:] * jumped)

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}


class Table(Head):
    """A number for each place."""

    def __init__(self, numbers: Tensor) -> None:
        nn.Module.__init__(self)
        self.numbers = numbers

    def forward(self, transition: Transition) -> Any:
        return ToyNormal(transition.after.features @ self.numbers, 1.0, 0)


def cliff(endless: bool = False, value: Head | None = None) -> ToyAgent:
    torch.manual_seed(0)
    action = toy_action("discrete", 2)
    beyond = Table(torch.full((PLACES,), 100.0))  # a value that must never be seen behind an end
    heads = {"reward": Table(REWARD), "continue": Table(GOES_ON), "value": value or beyond}
    return ToyAgent(action=action, dynamics=Cliff(endless), heads=heads)


PLANS = {
    "walk to the goal": ([WALK, WALK, WALK], -1 - 1 + 9.0),
    "jump at once": ([JUMP, WALK, WALK], -5.0),
    "walk, then jump": ([WALK, JUMP, WALK], -1 - 5.0),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_trajectory_that_dies_pays_for_its_last_step(name: str, bootstrap: bool) -> None:
    """What happens after the end (the walk begins anew) and what is thought to be worth 100 there count nothing."""
    actions, wanted = PLANS[name]
    imagination = Imagination(cliff())
    steps = iter([action.expand(1, 2) for action in actions])
    trajectory: Trajectory = imagination.rollout(places(0), lambda latent, sampling: next(steps), 3, Sampling())
    assert float(imagination.returns(trajectory, bootstrap=bootstrap)) == wanted
    plan = torch.stack(actions)[None, None]  # (1, 1, 3, 2)
    assert float(imagination.score(places(0), plan, sampling=Sampling(), bootstrap=bootstrap)) == wanted


def test_a_planner_walks_on_a_cliff_without_a_goal_too() -> None:
    """Three steps of -1 against one of -5: with the reward of the end zeroed, jumping would cost nothing."""
    plans = torch.stack([torch.stack([WALK] * 3), torch.stack([JUMP, WALK, WALK])])[None]  # (1, 2, 3, 2)
    found = Imagination(cliff(endless=True)).score(places(0), plans, sampling=Sampling())
    assert found.tolist() == [[-3.0, -5.0]]


@pytest.mark.parametrize(("endless", "jumps"), [(False, False), (True, True)])
def test_dying_is_chosen_only_where_it_pays(endless: bool, jumps: bool) -> None:
    """The actor walks where a goal can be reached, and jumps only from an endless cliff, where -5 is the better end."""
    agent = cliff(endless, ToyHead(None, PLACES, toy_action("discrete", 2)))
    options = {"horizon": 6, "discount": 0.97, "starts": None, "actor_lr": 0.1, "critic_lr": 0.2, "entropy": 0.0}
    learner = ActorCritic(DreamerConfig(**options).resolved(agent.slots()), agent)
    optimizers = learner.optimizers()
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    batch = toy_batch(3, 4, action=agent.action)
    for _ in range(60):
        losses = learner.losses(View(batch, agent, sampling), Rehearsal(agent, sampling, agent.imagination))
        for optimizer in optimizers:
            optimizer.zero_grad()
        sum(loss.mean() for loss in losses.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
    with torch.no_grad():
        chance = agent.actor.policy(places(0, 1, 2)).mean[:, 1]  # of jumping
    assert bool(((chance > 0.8) if jumps else (chance < 0.2)).all()), chance.tolist()
