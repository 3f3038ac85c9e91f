from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from reverie.contracts import Sampling
from reverie.testing.toys import PointMass, point_latent, toy_action
from reverie_plugins.shooting import reverie_components
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.config import CEMConfig, RandomShootingConfig
from reverie_plugins.shooting.plans import uniform_plans
from reverie_plugins.shooting.random_shooting import RandomShooting


class Spy(PointMass):
    """Remembers what was scored, and with which options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scored: list[Tensor] = []
        self.options: list[dict[str, Any]] = []

    def score(self, start: Any, actions: Tensor, *, sampling: Sampling, **options: Any) -> Tensor:
        self.scored.append(actions)
        self.options.append(options)
        return super().score(start, actions, sampling=sampling, **options)


def sampling(B: int = 1, seed: int = 0) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(seed + row) for row in range(B)])


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_every_candidate_lies_within_the_action_space(kind: str):
    world = Spy(toy_action(kind, 3))
    for planner in (
        CEM(CEMConfig(std=5.0, candidates=40, elites=4), world.action, None),
        RandomShooting(RandomShootingConfig(candidates=40), world.action, None),
    ):
        planner.plan(world.starts(2), planner.initial(2), world, explore=False, sampling=sampling(2))
    for plans in world.scored:
        assert plans.shape == (2, 40, 12, 3)
        assert float(plans.abs().max()) <= 1
        if kind == "discrete":
            assert bool((plans.sum(-1) == 1).all())
            assert set(plans.unique().tolist()) == {0.0, 1.0}
        else:
            assert float(plans.std()) > 0.3


def test_score_options_reach_the_imagination():
    world = Spy(toy_action())
    options = {"particles": 3, "discount": 0.9, "bootstrap": True, "risk": 0.5}
    for planner in (
        CEM(CEMConfig(candidates=8, elites=2, iterations=1, **options), world.action, None),
        RandomShooting(RandomShootingConfig(candidates=8, **options), world.action, None),
    ):
        planner.plan(world.starts(1), planner.initial(1), world, explore=False, sampling=sampling())
    assert world.options == [options, options]


def test_random_shooting_executes_the_first_action_of_the_best_plan():
    world = Spy(toy_action())
    planner = RandomShooting(RandomShootingConfig(candidates=50, horizon=3), world.action, None)
    latent = world.starts(3)
    action, _ = planner.plan(latent, {}, world, explore=False, sampling=sampling(3))
    plans = world.scored[0]
    scores = world.score(latent, plans, sampling=sampling(3))
    for row in range(3):
        assert torch.equal(action[row], plans[row, int(scores[row].argmax()), 0])


def test_uniform_plans_are_uniform():
    like = torch.zeros(1)
    discrete = uniform_plans(toy_action("discrete", 4), (2, 500, 10), like, sampling(2))
    torch.testing.assert_close(discrete.mean((0, 1, 2)), torch.full((4,), 0.25), atol=0.02, rtol=0)
    continuous = uniform_plans(toy_action(size=2), (2, 500, 10), like, sampling(2))
    torch.testing.assert_close(continuous.mean((0, 1, 2)), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(continuous.std(), torch.tensor(1 / 3**0.5), atol=0.02, rtol=0)


def test_memory_exists_only_with_a_warm_start_and_is_the_shifted_plan():
    world = Spy(toy_action(size=2))
    cold = CEM(CEMConfig(candidates=8, elites=2), world.action, None)
    assert cold.initial(3) == {}
    config = CEMConfig(candidates=30, elites=1, iterations=1, horizon=3, warm_start=True)
    warm = CEM(config, world.action, None)
    carry = warm.initial(2)
    assert carry["centre"].shape == (2, 3, 2)
    latent = world.starts(2)
    _action, after = warm.plan(latent, carry, world, explore=False, sampling=sampling(2))
    scores = world.score(latent, world.scored[0], sampling=sampling(2))
    best = world.scored[0][torch.arange(2), scores.argmax(1)]  # the one elite
    torch.testing.assert_close(after["centre"][:, :2], best[:, 1:])
    assert torch.equal(after["centre"][:, 2], torch.zeros(2, 2))
    world.scored.clear()
    centre = {"centre": torch.full((2, 3, 2), 0.5)}
    narrow = CEM(config.model_copy(update={"std": 1e-6}), world.action, None)
    narrow.plan(latent, centre, world, explore=False, sampling=sampling(2))
    torch.testing.assert_close(world.scored[0], torch.full((2, 30, 3, 2), 0.5))


def test_categorical_memory_ends_in_the_uniform_distribution():
    world = PointMass(toy_action("discrete", 4))
    planner = CEM(CEMConfig(candidates=8, elites=2, horizon=2, warm_start=True), world.action, None)
    _action, after = planner.plan(world.starts(1), planner.initial(1), world, explore=False, sampling=sampling())
    torch.testing.assert_close(after["centre"].sum(-1), torch.ones(1, 2))
    assert torch.equal(after["centre"][0, 1], torch.full((4,), 0.25))


def test_plans_that_blow_up_are_no_elites():
    # Every action above 0 gives nan: with 40 elites of 40, only the finite ones may count.
    world = PointMass(toy_action(size=1), target=5.0, nan_above=0.0)
    planner = CEM(CEMConfig(candidates=40, elites=40, iterations=1, horizon=1), world.action, None)
    action, _ = planner.plan(point_latent(torch.zeros(1, 1)), {}, world, explore=False, sampling=sampling())
    assert -1 <= float(action) < -0.3


def test_when_every_plan_blows_up_the_centre_stays():
    world = PointMass(toy_action(size=1), nan_above=-2.0)
    planner = CEM(CEMConfig(candidates=10, elites=2), world.action, None)
    action, _ = planner.plan(point_latent(torch.zeros(2, 1)), {}, world, explore=False, sampling=sampling(2))
    assert torch.equal(action, torch.zeros(2, 1))


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_same_generators_give_the_same_plan(kind: str):
    world = PointMass(toy_action(kind, 3))
    planner = CEM(CEMConfig(candidates=16, elites=4), world.action, None)
    plans = [planner.plan(world.starts(2), {}, world, explore=False, sampling=sampling(2))[0] for _ in range(2)]
    assert torch.equal(*plans)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon"),
        ({"elites": 200}, "elites"),
        ({"candidates": 0}, "candidates"),
        ({"particles": 0}, "particles"),
        ({"discount": 1.5}, "discount"),
        ({"horizn": 3}, "horizn"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        CEMConfig(**options)


def test_needs_follow_the_options():
    assert CEMConfig().needs().slots == ()
    assert CEMConfig(bootstrap=True).needs().slots == ("heads/value",)
    for spec in reverie_components():
        assert spec.needs.slots == ("heads/reward",)
        assert {"continuous", "discrete"} <= spec.provides
