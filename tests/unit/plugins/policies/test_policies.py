import math
from dataclasses import dataclass

import pytest
import torch

from reverie.contracts import ActionSpec, Latent, Sampling
from reverie_plugins.policies.actor import MLPActor
from reverie_plugins.policies.config import ActorPlannerConfig, MLPActorConfig
from reverie_plugins.policies.planner import ActorPlanner

F, A = 6, 3
CONTINUOUS, DISCRETE = ActionSpec("continuous", A), ActionSpec("discrete", A)


@dataclass(frozen=True)
class Plain(Latent):
    x: torch.Tensor

    @property
    def features(self) -> torch.Tensor:
        return self.x


def states(n: int, scale: float = 1.0) -> Plain:
    return Plain(scale * torch.randn(n, F, generator=torch.Generator().manual_seed(0)))


def make(action: ActionSpec, **options) -> MLPActor:
    torch.manual_seed(0)
    return MLPActor(MLPActorConfig(units=8, **options), F, action)


def seeded() -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(0)])


KINDS = [(DISCRETE, {}), (CONTINUOUS, {}), (CONTINUOUS, {"distribution": "tanh_normal"})]


@pytest.mark.parametrize(("action", "options"), KINDS)
def test_shapes_and_gradients_of_draws(action, options):
    actor = make(action, **options)
    policy = actor.policy(Plain(torch.randn(4, 5, F)))
    assert (policy.batch_shape, policy.event_shape) == ((4, 5), (A,))
    assert policy.entropy().shape == (4, 5)
    drawn = seeded().draw(policy)
    assert policy.log_prob(drawn.detach()).shape == drawn.shape[:-1] == (4, 5)
    drawn[..., 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in actor.net.rest.output.parameters())


@pytest.mark.parametrize(("action", "options"), KINDS)
@pytest.mark.parametrize("explore", [False, True])
def test_plans_are_within_bounds(action, options, explore):
    actor = make(action, output_scale=100.0, **options)
    planned, carry = actor.plan(states(64, 10), {}, None, explore=explore, sampling=seeded())
    assert carry == {}
    assert planned.abs().max() <= 1
    if action.is_discrete:
        assert torch.equal(planned.sum(-1), torch.ones(64))


def test_in_mode_the_plan_is_the_mode():
    actor = make(CONTINUOUS)
    planned, _ = actor.plan(states(8), {}, None, explore=False, sampling=Sampling("mode"))
    assert torch.equal(planned, actor.policy(states(8)).mode)


def test_continuous_draws_are_not_clipped_before_their_log_probability():
    """Note 17: the density of a clipped draw would be that of another action."""
    actor = make(CONTINUOUS)
    policy = actor.policy(states(500))
    drawn = seeded().draw(policy)
    assert drawn.abs().max() > 1
    reference = torch.distributions.Normal(policy.mean, policy.std).log_prob(drawn).sum(-1)
    torch.testing.assert_close(policy.log_prob(drawn), reference)
    outside = (drawn.abs() > 1).any(-1)
    assert not torch.allclose(policy.log_prob(drawn.clamp(-1, 1))[outside], reference[outside])


def test_deviations_stay_in_their_range():
    actor = make(CONTINUOUS, output_scale=1000.0, min_std=0.2, max_std=0.7)
    std = actor.policy(states(200, 10)).std
    assert 0.2 <= std.min() < 0.25
    assert 0.65 < std.max() <= 0.7


def test_means_stay_within_bounds():
    actor = make(CONTINUOUS, output_scale=1000.0)
    assert actor.policy(states(200, 10)).mean.abs().max() <= 1


def test_no_action_dies_out():
    actor = make(DISCRETE, output_scale=1e6, unimix=0.03)
    probs = actor.policy(states(200, 10)).probs
    assert probs.min() >= 0.01 - 1e-6
    torch.testing.assert_close(probs.sum(-1), torch.ones(200))


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE])
def test_the_first_policy_is_nearly_the_same_everywhere(action):
    mean = make(action).policy(states(100)).mean
    assert mean.std(0).max() < 0.2


def test_the_actor_of_the_first_dreamer_by_hand():
    """A normal of mean 5 tanh(out / 5) and deviation softplus(out + softplus^-1(5)) + 1e-4, squashed."""
    options = {"init_std": 5.0, "min_std": 1e-4, "mean_scale": 5.0, "output_scale": 30.0}
    actor = make(CONTINUOUS, distribution="tanh_normal", **options)
    policy, outputs = actor.policy(states(50)), actor.net(states(50)).detach()
    for row in range(50):
        for i in range(A):
            mean, raw = outputs[row, i].item(), outputs[row, A + i].item()
            std = math.log1p(math.exp(raw + math.log(math.exp(5.0) - 1))) + 1e-4
            assert policy.base.mean[row, i].item() == pytest.approx(5 * math.tanh(mean / 5), rel=1e-4, abs=1e-5)
            assert policy.base.std[row, i].item() == pytest.approx(std, rel=1e-4)
    assert outputs.abs().max() > 5
    base = torch.distributions.Normal(policy.base.mean, policy.base.std)
    squashed = torch.distributions.TransformedDistribution(base, torch.distributions.TanhTransform())
    drawn = torch.linspace(-0.9, 0.9, 50 * A).reshape(50, A)
    torch.testing.assert_close(policy.log_prob(drawn), squashed.log_prob(drawn).sum(-1), rtol=1e-4, atol=1e-4)


def test_the_first_deviation_is_the_one_asked_for():
    for distribution in ("normal", "tanh_normal"):
        actor = make(CONTINUOUS, distribution=distribution, init_std=2.0, min_std=0.1, output_scale=0.0)
        policy = actor.policy(states(5))
        std = policy.std if distribution == "normal" else policy.base.std
        torch.testing.assert_close(std, torch.full((5, A), 2.1))


def test_planner_passes_on_to_the_actor():
    actor = make(DISCRETE)
    planner = ActorPlanner(ActorPlannerConfig(), DISCRETE, actor)
    mine, _ = planner.plan(states(5), planner.initial(5), None, explore=True, sampling=seeded())
    theirs, _ = actor.plan(states(5), {}, None, explore=True, sampling=seeded())
    assert torch.equal(mine, theirs)


def test_planner_without_an_actor_is_refused():
    with pytest.raises(ValueError, match="actor"):
        ActorPlanner(ActorPlannerConfig(), DISCRETE, None)


def test_options_that_contradict_are_refused():
    with pytest.raises(ValueError, match="min_std"):
        MLPActorConfig(min_std=2.0)
    for preset in MLPActorConfig.presets.values():
        MLPActorConfig(**preset)
    with pytest.raises(ValueError, match="init_std"):
        MLPActorConfig(init_std=0.1, min_std=0.1)
    with pytest.raises(ValueError, match="mean_scale"):
        MLPActorConfig(mean_scale=5.0)
