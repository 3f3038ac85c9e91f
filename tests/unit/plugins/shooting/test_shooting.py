from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from reverie.contracts import Distribution, Latent, Sampling
from reverie.testing.planner_checks import Guide
from reverie.testing.toys import PointMass, ToyNormal, point_latent, toy_action
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.config import CEMConfig, GuidedConfig, ICEMConfig, MPPIConfig, RandomShootingConfig
from reverie_plugins.shooting.guided import Guided
from reverie_plugins.shooting.icem import ICEM
from reverie_plugins.shooting.mppi import MPPI
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


class Watched(PointMass):
    """Keeps the plans that planners settled on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settled: list[Tensor] = []

    def chose(self, plans: Tensor) -> None:
        self.settled.append(plans)


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
    options = {
        "particles": 3, "discount": 0.9, "bootstrap": True, "risk": 0.5, "continues": False,
        "score_by": "reward_minus_cost",
    }  # fmt: skip
    few = {"candidates": 8, "elites": 2, "iterations": 1}
    planners = [
        CEM(CEMConfig(**few, **options), world.action, None),
        ICEM(ICEMConfig(**few, **options), world.action, None),
        MPPI(MPPIConfig(**few, **options), world.action, None),
        RandomShooting(RandomShootingConfig(candidates=8, **options), world.action, None),
        Guided(GuidedConfig(candidates=8, **options), world.action, Guide(world)),
    ]
    for planner in planners:
        planner.plan(world.starts(1), planner.initial(1), world, explore=False, sampling=sampling())
    options["by"] = options.pop("score_by")
    assert world.options == [options] * len(planners)


@pytest.mark.parametrize("has_value", [True, False])
def test_a_value_is_used_where_there_is_one_unless_the_recipe_says_otherwise(has_value: bool):
    """Note 24."""
    world = Spy(toy_action(), has_value=has_value)
    for choice in (None, False, *([True] if has_value else [])):
        planner = RandomShooting(RandomShootingConfig(candidates=8, bootstrap=choice), world.action, None)
        planner.plan(world.starts(1), {}, world, explore=False, sampling=sampling())
        assert world.options[-1]["bootstrap"] is (has_value if choice is None else choice)
    cost = RandomShootingConfig(score_by="cost").scoring(has_value=True)
    assert cost["bootstrap"] is False, "values are of rewards"


def test_planners_say_what_they_settled_on():
    world = Watched(toy_action())
    few = {"candidates": 8, "elites": 2, "iterations": 2, "horizon": 3}
    for planner in (
        CEM(CEMConfig(**few), world.action, None),
        ICEM(ICEMConfig(**few), world.action, None),
        MPPI(MPPIConfig(**few), world.action, None),
        RandomShooting(RandomShootingConfig(candidates=8, horizon=3), world.action, None),
        Guided(GuidedConfig(candidates=8, horizon=3), world.action, Guide(world)),
    ):
        action, _ = planner.plan(world.starts(2), planner.initial(2), world, explore=False, sampling=sampling(2))
        (plan,) = world.settled
        assert plan.shape == (2, 3, 2)
        assert torch.equal(plan[:, 0], action)
        world.settled.clear()


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
        ({"elites": 200}, r"elites \(200\) cannot be more than candidates \(128\)"),
        ({"score_by": "cost", "bootstrap": True}, "nothing to bootstrap"),
        ({"noise": "pink"}, "noise"),
        ({"candidates": 0}, "candidates"),
        ({"particles": 0}, "particles"),
        ({"discount": 1.5}, "discount"),
        ({"horizn": 3}, "horizn"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        CEMConfig(**options)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (MPPIConfig, {"proposals": 600}, r"proposals \(600\) cannot be more than candidates \(512\)"),
        (CEMConfig, {"proposals": 200}, r"proposals \(200\) cannot be more than candidates \(128\)"),
        (CEMConfig, {"proposals": -1}, "proposals"),
        (MPPIConfig, {"min_std": 3.0}, r"min_std \(3.0\) cannot be more than max_std \(2.0\)"),
        (ICEMConfig, {"decay": 0.5}, "decay"),
        (ICEMConfig, {"elites": 300}, "cannot be more than candidates"),
        (GuidedConfig, {"candidates": 0}, "candidates"),
    ],
)
def test_bad_options_of_the_others_are_refused(config: Any, options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        config(**options)


def test_planners_without_the_actor_that_they_ask_for_say_so():
    action = toy_action()
    with pytest.raises(ValueError, match="fill the slot `actor`"):
        Guided(GuidedConfig(), action, None)
    with pytest.raises(ValueError, match="fill the slot `actor`"):
        MPPI(MPPIConfig(proposals=3), action, None)
    with pytest.raises(ValueError, match="fill the slot `actor`"):
        CEM(CEMConfig(proposals=3), action, None)
    assert MPPI(MPPIConfig(), action, None).proposals == 0


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_guided_plans_are_the_actors_and_one_is_its_most_likely(kind: str):
    world = Spy(toy_action(kind, 3))
    guide = Guide(world)
    planner = Guided(GuidedConfig(candidates=400, horizon=2), world.action, guide)
    latent = world.starts(2)
    planner.plan(latent, {}, world, explore=False, sampling=sampling(2).with_mode("mode"))
    plans = world.scored[0]  # (2, 40, 2, 3)
    assert plans.shape == (2, 400, 2, 3)
    torch.testing.assert_close(plans[:, 0, 0], guide.policy(latent).mode)
    assert len(plans[0].flatten(1).unique(dim=0)) > 1, "drawn although the mode was asked for"
    if kind == "continuous":
        spread = plans[:, 1:, 0] - guide.policy(latent).mean[:, None]
        assert float(spread.abs().max()) < 0.5
        assert float(spread.std()) == pytest.approx(0.1, abs=0.03)


def test_proposals_that_leave_the_bounds_are_clipped_before_they_are_scored():
    class Wild(Guide):
        def policy(self, latent: Latent) -> Distribution:
            return ToyNormal(torch.zeros(*latent.batch_shape, 2), 3.0, 1)

    world = Spy(toy_action(size=2))
    for planner in (
        Guided(GuidedConfig(candidates=20, horizon=2), world.action, Wild(world)),
        MPPI(MPPIConfig(candidates=20, elites=4, proposals=10, horizon=2), world.action, Wild(world)),
    ):
        planner.plan(world.starts(2), planner.initial(2), world, explore=False, sampling=sampling(2))
        plans = world.scored[0][:, 1:10]
        assert float(plans.abs().max()) == 1.0
        assert 0.5 < float((plans.abs() == 1).float().mean()) < 0.95
        world.scored.clear()


@pytest.mark.parametrize("planner", [MPPI, CEM])
def test_proposals_take_part_in_every_round_and_are_drawn_once(planner: Any):
    world = Spy(toy_action(size=2))
    options = {"candidates": 20, "elites": 4, "proposals": 6, "horizon": 3, "iterations": 6}
    searching = planner((MPPIConfig if planner is MPPI else CEMConfig)(**options), world.action, Guide(world))
    searching.plan(world.starts(2), searching.initial(2), world, explore=False, sampling=sampling(2))
    assert len(world.scored) == 6
    for plans in world.scored:
        assert plans.shape == (2, 20, 3, 2)
        assert torch.equal(plans[:, :6], world.scored[0][:, :6])
        assert not torch.equal(plans[:, 6:], world.scored[0][:, 6:]) or plans is world.scored[0]


def test_categorical_plans_follow_proposals_that_are_better():
    world = Spy(toy_action("discrete", 3))
    guide, latent = Guide(world), world.starts(2)
    config = CEMConfig(candidates=8, elites=4, proposals=8, horizon=2, iterations=1)
    action, _ = CEM(config, world.action, guide).plan(latent, {}, world, explore=False, sampling=sampling(2))
    assert world.scored[0].shape == (2, 8, 2, 3)
    torch.testing.assert_close(action, guide.policy(latent).mode)


def test_icem_keeps_elites_for_the_next_round_and_the_next_step():
    world = Spy(toy_action(size=1))
    config = ICEMConfig(horizon=3, candidates=12, elites=4, kept=0.5, iterations=2)
    planner = ICEM(config, world.action, None)
    latent = world.starts(2)
    scores: list[Tensor] = []
    carry = planner.initial(2)
    _, carry = planner.plan(latent, carry, world, explore=False, sampling=sampling(2))
    for plans in list(world.scored):
        scores.append(world.score(latent, plans, sampling=sampling(2)))
    first, second = world.scored[:2]
    for b in range(2):
        best = first[b][scores[0][b].topk(2).indices]  # kept: the two best of the round before
        assert torch.equal(second[b, 9:11], best)
        final = second[b][scores[1][b].topk(2).indices]
        assert torch.equal(carry["elites"][b, :, :2], final[:, 1:])
    world.scored.clear()
    planner.plan(latent, carry, world, explore=False, sampling=sampling(2, seed=9))
    assert torch.equal(world.scored[0][:, 12:, :2], carry["elites"][:, :, :2])
    assert bool((world.scored[0][:, 12:, 2] != 0).all()), "their last action is new"


def test_icem_of_an_environment_that_begins_ignores_what_lies_in_its_memory():
    world = PointMass(toy_action(size=1))
    planner = ICEM(ICEMConfig(horizon=3, candidates=12, elites=4), world.action, None)
    latent, junk = world.starts(1), planner.initial(1)
    junk["elites"] = torch.full_like(junk["elites"], 0.77)
    found = [
        planner.plan(latent, carry, world, explore=False, sampling=sampling())[0]
        for carry in (planner.initial(1), junk)
    ]
    assert torch.equal(*found)


def test_needs_follow_the_options():
    assert CEMConfig().needs().slots == ("heads/reward",)
    assert CEMConfig(bootstrap=True).needs().slots == ("heads/reward", "heads/value")
    assert CEMConfig(score_by="cost").needs().slots == ("heads/cost",)
    assert CEMConfig().needs().provides == {}
    assert CEMConfig(proposals=5).needs().provides == {"actor": ("proposal",)}
    assert ICEMConfig(score_by="reward_minus_cost").needs().slots == ("heads/reward", "heads/cost")
    assert MPPIConfig().needs().provides == {}
    assert MPPIConfig(proposals=0).needs().provides == {}
    assert MPPIConfig(proposals=5).needs().provides == {"actor": ("proposal",)}
