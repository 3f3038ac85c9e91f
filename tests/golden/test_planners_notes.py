"""Correctness notes 22 to 24, each with an implementation that has the mistake and is seen to fail. (21: test_cem)"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.contracts import Carry, Distribution, Head, Latent, Sampling, SearchPlanner, Transition
from reverie.testing.planner_checks import Guide
from reverie.testing.toys import LinearDynamics, PointMass, ToyAgent, ToyLatent, ToyNormal, point_latent, toy_action
from reverie_plugins.search.config import GradientConfig
from reverie_plugins.search.gradient import GradientAscent
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.config import CEMConfig, GuidedConfig, ICEMConfig, MPPIConfig, RandomShootingConfig
from reverie_plugins.shooting.guided import Guided
from reverie_plugins.shooting.icem import ICEM
from reverie_plugins.shooting.mppi import MPPI
from reverie_plugins.shooting.random_shooting import RandomShooting

ACTION = toy_action(size=1)


def seeds(B: int) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(row) for row in range(B)])


class Mass(LinearDynamics):
    """A number that an action moves by half; the noise of a step grows with the square of the action's size."""

    def __init__(self, noise: float = 0.0, *, tiled: bool = False) -> None:
        nn.Module.__init__(self)
        self.feature_size = self.code_size = self.size = 1
        self.scale, self.tiled = noise, tiled

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        x = state.x + 0.5 * action
        return point_latent(x + self.scale * action.square() * sampling.randn(x.shape))

    def branch(self, state: ToyLatent, n: int) -> ToyLatent:
        return state.map(lambda value: value.repeat(n, 1)) if self.tiled else state.repeat(n)


class Known(Head):
    def __init__(self, function: Any) -> None:
        nn.Module.__init__(self)
        self.function = function

    def forward(self, transition: Transition) -> Distribution:
        assert transition.after is not None
        return ToyNormal(self.function(transition.after.features[..., 0]), 1.0, 0)


def imagination(dynamics: Mass, reward: Any, kind: type[Imagination] = Imagination, **heads: Any) -> Imagination:
    known = {"reward": Known(reward), **{name: Known(function) for name, function in heads.items()}}
    return kind(ToyAgent(action=ACTION, dynamics=dynamics, heads=known))


def every() -> dict[str, SearchPlanner]:
    world = PointMass(ACTION)
    few: dict[str, Any] = {"horizon": 1, "candidates": 200, "elites": 10}
    return {
        "random_shooting": RandomShooting(RandomShootingConfig(horizon=1), ACTION, None),
        "planet": CEM(CEMConfig(**few), ACTION, None),
        "pets": CEM(CEMConfig(**{**CEMConfig.presets["pets"], **few}), ACTION, None),
        "icem": ICEM(ICEMConfig(**few), ACTION, None),
        "mppi": MPPI(MPPIConfig(**few, temperature=20.0), ACTION, None),
        "guided": Guided(GuidedConfig(horizon=1), ACTION, Guide(world)),
        "gradient": GradientAscent(GradientConfig(horizon=1, iterations=40), ACTION, None),
    }


def act(planner: SearchPlanner, world: Any, x: Tensor, *, steps: int = 1) -> tuple[Tensor, Carry]:
    carry, sampling = planner.initial(len(x)), seeds(len(x))
    with torch.set_grad_enabled(planner.differentiates):
        for _ in range(steps):
            action, carry = planner.plan(point_latent(x), carry, world, explore=False, sampling=sampling)
    return action, carry


# -- 22: candidates and states are repeated in the same order ---------------------------------------------------------


class TilesCandidates(Imagination):
    """Judges plan n of environment b from another environment's start. Right for a batch of one."""

    def score(self, start: Latent, actions: Tensor, **options: Any) -> Tensor:
        B, N = actions.shape[:2]
        wrong = start.map(lambda value: value.repeat(N, 1))  # b varies fastest: should be repeat_interleave
        return super().score(wrong, actions.reshape(B * N, 1, *actions.shape[2:]), **options).reshape(B, N)


STARTS = torch.tensor([[-0.4], [0.0], [0.4], [0.2]])


@pytest.mark.parametrize("name", [name for name in every() if name != "guided"])
def test_22_each_environment_is_judged_from_its_own_state(name: str):
    planner = every()[name]
    right, wrong = (imagination(Mass(), lambda x: -x.square(), kind) for kind in (Imagination, TilesCandidates))
    wanted = -STARTS / 0.5
    assert float((act(planner, right, STARTS)[0] - wanted).abs().max()) < 0.2
    assert float((act(planner, wrong, STARTS)[0] - wanted).abs().max()) > 0.3
    single = STARTS[:1]
    torch.testing.assert_close(act(planner, right, single)[0], act(planner, wrong, single)[0])


def test_22_particles_belong_to_the_state_that_they_are_copies_of():
    plans = torch.zeros(4, 3, 2, 1)
    scores = [
        imagination(Mass(tiled=tiled), lambda x: x).score(point_latent(STARTS), plans, sampling=Sampling(), particles=2)
        for tiled in (False, True)
    ]
    torch.testing.assert_close(scores[0], 2 * STARTS.expand(4, 3))
    assert not torch.allclose(scores[1], scores[0])


# -- 23: not-a-number is the worst score, actions are clipped inside the search, memory resets per environment ---------


class NaNIsZero(Imagination):
    def score(self, start: Latent, actions: Tensor, **options: Any) -> Tensor:
        scores = super().score(start, actions, **options)
        return torch.where(scores.isinf(), 0.0, scores)


@pytest.mark.parametrize("name", [name for name in every() if name != "guided"])
def test_23_a_plan_that_blows_up_is_never_chosen(name: str):
    """Beyond 0.25 the model breaks. Every honest reward is negative, so that a zero would win."""

    def reward(x: Tensor) -> Tensor:
        return torch.where(x > 0.25, torch.nan, -1 - (x - 0.2).square())

    planner, x = every()[name], torch.zeros(6, 1)
    right, wrong = (imagination(Mass(), reward, kind) for kind in (Imagination, NaNIsZero))
    assert float(act(planner, right, x)[0].max()) <= 0.5
    assert float(act(planner, wrong, x)[0].max()) > 0.5


@pytest.mark.parametrize("name", ["random_shooting", "planet", "pets", "icem", "mppi"])
def test_23_no_bad_plan_is_an_elite_even_where_good_ones_are_fewer_than_elites(name: str):
    """One action in fifty is not broken: a refit to all the elites would lie far from it."""

    def reward(x: Tensor) -> Tensor:
        return torch.where((x > 0.14) & (x < 0.16), torch.zeros_like(x), torch.nan)

    planner = every()[name]
    action, _ = act(planner, imagination(Mass(), reward), torch.zeros(4, 1))
    assert float(action.min()) > 0.27
    assert float(action.max()) < 0.33


@pytest.mark.parametrize("name", list(every()))
def test_23_plans_are_judged_as_they_would_be_executed(name: str):
    """What lies beyond the bounds is clipped before it is scored, and not when it is executed."""
    seen: list[Tensor] = []

    class Watching(Imagination):
        def score(self, start: Latent, actions: Tensor, **options: Any) -> Tensor:
            seen.append(actions.detach())
            return super().score(start, actions, **options)

    world = imagination(Mass(), lambda x: 5 * x, Watching)  # the best action lies on a bound
    action, _ = act(every()[name], world, torch.zeros(3, 1))
    assert max(float(plans.abs().max()) for plans in seen) <= 1.0
    if name != "guided":
        assert float(action.min()) > 0.9


@pytest.mark.parametrize("name", ["pets", "icem", "mppi", "gradient"])
def test_23_memory_of_one_environment_is_not_anothers(name: str):
    """Two environments with opposite goals: each goes on from its own plan, and one that begins afresh from none."""
    planner, world = every()[name], imagination(Mass(), lambda x: -x.square())
    x = torch.tensor([[-0.5], [0.5]])
    _, carry = act(planner, world, x, steps=3)
    swapped = {key: value.flip(0) for key, value in carry.items()}
    options: Any = {"explore": False, "sampling": seeds(2)}
    here, _ = planner.plan(point_latent(x), carry, world, **{**options, "sampling": seeds(2)})
    there, _ = planner.plan(point_latent(x), swapped, world, **{**options, "sampling": seeds(2)})
    fresh = planner.initial(2)
    mixed = {key: torch.stack([fresh[key][0], value[1]]) for key, value in carry.items()}
    reset, _ = planner.plan(point_latent(x), mixed, world, **{**options, "sampling": seeds(2)})
    assert torch.equal(reset[1], here[1])
    if any(float(value.float().abs().sum()) for key, value in carry.items() if key != "begun"):
        assert not torch.equal(here, there)


# -- 24: a value behind the last state; particles are averaged ---------------------------------------------------------


@pytest.mark.parametrize("name", list(every()))
def test_24_what_lies_behind_the_last_step_counts_where_there_is_a_value_head(name: str):
    """Rewards say left, the value of what follows says right and weighs more."""
    planner = every()[name]
    with_value = imagination(Mass(), lambda x: -x, value=lambda x: 3 * x)
    without = imagination(Mass(), lambda x: -x)
    x = torch.zeros(4, 1)
    ahead, here = act(planner, with_value, x)[0], act(planner, without, x)[0]
    if name == "guided":
        assert bool((ahead > here).all())  # as far as its actor wants to go
    else:
        assert float(ahead.min()) > 0.8
        assert float(here.max()) < -0.8


class LuckyParticle(Imagination):
    """Judges a plan by its luckiest particle."""

    def score(self, start: Latent, actions: Tensor, **options: Any) -> Tensor:
        options["particles"], copies = 1, options.get("particles") or 1
        return torch.stack([super(LuckyParticle, self).score(start, actions, **options) for _ in range(copies)]).amax(0)


@pytest.mark.parametrize("name", ["random_shooting", "planet", "icem"])
def test_24_particles_are_averaged_and_not_one_lucky_one_taken(name: str):
    """The larger the action, the wilder the outcome; standing still is best on average, and never looks it."""

    def reward(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 4 * x)

    planner: Any = every()[name]
    planner.config = planner.config.model_copy(update={"particles": 200, "candidates": 100})
    if hasattr(planner, "plans"):
        planner.plans.config = planner.config
    x = torch.zeros(4, 1)
    right, lucky = (imagination(Mass(2.0), reward, kind) for kind in (Imagination, LuckyParticle))
    calm = act(planner, right, x)[0].abs().max()
    wild = act(planner, lucky, x)[0].abs().min()
    assert float(calm) < 0.6
    assert float(wild) > 0.7


def test_24_risk_is_the_spread_of_the_particles_and_can_be_sought_or_shunned():
    found = {}
    for risk in (-2.0, 0.0, 2.0):
        config = RandomShootingConfig(horizon=1, particles=50, risk=risk)
        world = imagination(Mass(1.0), lambda x: x)
        found[risk] = float(act(RandomShooting(config, ACTION, None), world, torch.zeros(1, 1))[0].abs())
    assert found[2.0] < 0.5 < found[-2.0]
