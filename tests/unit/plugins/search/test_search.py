from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from reverie.contracts import Sampling
from reverie.testing.toys import PointMass, point_latent, toy_action
from reverie_plugins.search.config import ExhaustiveConfig, GradientConfig
from reverie_plugins.search.exhaustive import Exhaustive
from reverie_plugins.search.gradient import GradientAscent


class Spy(PointMass):
    """Remembers what was scored and settled on, and whether a gradient was wanted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scored: list[Tensor] = []
        self.gradients: list[bool] = []
        self.settled: list[Tensor] = []

    def score(self, start: Any, actions: Tensor, *, sampling: Sampling, **options: Any) -> Tensor:
        self.scored.append(actions.detach())
        self.gradients.append(actions.requires_grad)
        return super().score(start, actions, sampling=sampling, **options)

    def chose(self, plans: Tensor) -> None:
        self.settled.append(plans)


def seeds(B: int = 1) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(row) for row in range(B)])


def test_every_step_of_ascent_is_better_than_the_last_and_within_bounds():
    world = Spy(toy_action(size=2), has_value=False)
    planner = GradientAscent(GradientConfig(horizon=2, candidates=1, std=0.0, iterations=8, lr=0.1), world.action, None)
    latent = point_latent(torch.full((3, 2), -5.0))  # the best actions lie on the bound
    action, memory = planner.plan(latent, planner.initial(3), world, explore=False, sampling=seeds(3))
    assert world.gradients == [True] * 8 + [False]
    found = torch.stack([world.score(latent, plans, sampling=seeds(3))[:, 0] for plans in list(world.scored)])  # (9, 3)
    assert bool((found[1:] > found[:-1]).all())
    assert all(float(plans.abs().max()) <= 1 for plans in world.scored)
    (plan,) = world.settled
    assert torch.equal(plan[:, 0], action)
    assert torch.equal(memory["plan"][:, 0], plan[:, 1])
    assert torch.equal(memory["plan"][:, 1], torch.zeros(3, 2))


def test_the_first_candidate_begins_on_the_last_plan():
    world = Spy(toy_action(size=1))
    planner = GradientAscent(GradientConfig(horizon=3, candidates=4, iterations=1), world.action, None)
    plan = torch.rand(2, 3, 1) - 0.5
    planner.plan(world.starts(2), {"plan": plan}, world, explore=False, sampling=seeds(2))
    assert torch.equal(world.scored[0][:, 0], plan)
    assert not torch.equal(world.scored[0][:, 1], plan)
    cold = GradientAscent(GradientConfig(horizon=3, warm_start=False), world.action, None)
    assert cold.initial(2) == {}
    cold.plan(world.starts(2), {}, world, explore=False, sampling=seeds(2))
    assert torch.equal(world.scored[2][:, 0], torch.zeros(2, 3, 1))


def test_it_acts_where_gradients_are_off_and_leaves_none_behind():
    world = Spy(toy_action(size=1))
    planner = GradientAscent(GradientConfig(horizon=2, iterations=2), world.action, None)
    latent = world.starts(2)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            action, memory = planner.plan(latent, planner.initial(2), world, explore=False, sampling=seeds(2))
        assert not action.requires_grad
        assert not memory["plan"].requires_grad
    assert latent.x.grad is None


def test_a_plan_whose_gradient_is_not_finite_stays_where_it_is():
    class Cliff(Spy):
        def rewards(self, trajectory: Any) -> Tensor:
            x = trajectory.states[:, 1:].features[..., 0]
            return torch.sqrt(0.2 - x)  # beyond 0.2 neither the reward nor its slope is a number

    world = Cliff(toy_action(size=1), has_value=False)
    planner = GradientAscent(GradientConfig(horizon=1, iterations=3, candidates=8, std=1.0), world.action, None)
    action, _ = planner.plan(
        point_latent(torch.zeros(4, 1)), planner.initial(4), world, explore=False, sampling=seeds(4)
    )
    assert bool(torch.isfinite(action).all())
    assert float(action.max()) < 0.4
    bad = world.scored[0] > 0.4
    assert bool(bad.any())
    assert torch.equal(world.scored[1][bad], world.scored[0][bad])
    assert not torch.equal(world.scored[1][~bad], world.scored[0][~bad])


@pytest.mark.parametrize(("actions", "horizon"), [(2, 1), (3, 4), (5, 2)])
def test_every_plan_is_tried_once(actions: int, horizon: int):
    world = Spy(toy_action("discrete", actions))
    planner = Exhaustive(ExhaustiveConfig(horizon=horizon), world.action, None)
    planner.plan(world.starts(2), {}, world, explore=False, sampling=seeds(2))
    (plans,) = world.scored
    assert plans.shape == (2, actions**horizon, horizon, actions)
    assert bool((plans.sum(-1) == 1).all())
    assert len(plans[1].flatten(1).unique(dim=0)) == actions**horizon


def test_of_equal_plans_the_smaller_first_action_wins():
    class Flat(Spy):
        def rewards(self, trajectory: Any) -> Tensor:
            return torch.zeros_like(trajectory.actions[..., 0])

    world = Flat(toy_action("discrete", 4), has_value=False)
    planner = Exhaustive(ExhaustiveConfig(horizon=3), world.action, None)
    action, _ = planner.plan(world.starts(2), {}, world, explore=False, sampling=seeds(2))
    assert action.argmax(-1).tolist() == [0, 0]


def test_a_tree_beyond_its_budget_is_refused_with_what_would_fit():
    with pytest.raises(
        ValueError, match=r"4 actions over 7 steps are 16,384 plans, and the budget is 4,096; .*horizon=6"
    ):
        Exhaustive(ExhaustiveConfig(horizon=7), toy_action("discrete", 4), None)
    with pytest.raises(ValueError, match=r"18 actions over 1 steps are 18 plans, and the budget is 10; .*budget to 18"):
        Exhaustive(ExhaustiveConfig(horizon=1, budget=10), toy_action("discrete", 18), None)
    Exhaustive(ExhaustiveConfig(horizon=6), toy_action("discrete", 4), None)
    with pytest.raises(ValueError, match="continuous actions cannot be tried one by one"):
        Exhaustive(ExhaustiveConfig(), toy_action(size=1), None)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (GradientConfig, {"horizon": 0}, "horizon"),
        (GradientConfig, {"std": 0.0}, "all candidates are the same"),
        (GradientConfig, {"iterations": 0}, "iterations"),
        (ExhaustiveConfig, {"horizon": 0}, "horizon"),
        (ExhaustiveConfig, {"budget": 0}, "budget"),
    ],
)
def test_bad_options_are_refused(config: Any, options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        config(**options)


def test_gradients_are_needed_of_what_the_score_reads():
    assert GradientConfig().needs().provides == {
        "dynamics": ("differentiable",),
        "heads/reward": ("differentiable",),
    }
    assert set(GradientConfig(score_by="cost").needs().provides) == {"dynamics", "heads/cost"}
