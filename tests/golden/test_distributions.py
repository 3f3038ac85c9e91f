"""Correctness notes 10 and 17: distributions against torch.distributions, quadrature and counts."""

import math

import pytest
import torch
from scipy import stats
from torch import distributions as td

from reverie.contracts import Sampling
from reverie.nn import Bernoulli, Normal, OneHot, SquaredError, SymlogSquaredError, TanhNormal, one_hot_from

F64 = torch.float64


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_one_hot_agrees_with_torch():
    logits = rand(2, 3, 5)
    mine, theirs = OneHot(logits), td.OneHotCategorical(logits=logits)
    value = torch.nn.functional.one_hot(torch.arange(6).reshape(2, 3) % 5, 5).to(F64)
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())
    torch.testing.assert_close(
        mine.kl(OneHot(logits.flip(-1))), td.kl_divergence(theirs, td.OneHotCategorical(logits=logits.flip(-1)))
    )
    assert (mine.batch_shape, mine.event_shape) == ((2, 3), (5,))


def test_one_hot_groups_agree_with_torch_independent():
    logits = rand(2, 3, 4, 5)
    mine, theirs = OneHot(logits, 0.0, 2), td.Independent(td.OneHotCategorical(logits=logits), 1)
    value = mine.mode
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())
    assert (mine.batch_shape, mine.event_shape) == ((2, 3), (4, 5))


def test_unimix_by_hand():
    """softmax(ln 3, 0) = (3/4, 1/4); a share of 0.2 on (1/2, 1/2) gives (0.7, 0.3)."""
    mixed = OneHot(torch.tensor([math.log(3.0), 0.0]), unimix=0.2)
    torch.testing.assert_close(mixed.probs, torch.tensor([0.7, 0.3]))
    assert mixed.log_prob(torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(0.3), rel=1e-5)
    assert mixed.entropy().item() == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.3), rel=1e-5)


def test_unimix_is_in_the_draws():
    """A class that the logits exclude is still drawn, with half the share."""
    distribution = OneHot(torch.tensor([[60.0, 0.0]]).expand(20_000, 2), unimix=0.2)
    drawn = distribution.draw(Sampling(generators=[torch.Generator().manual_seed(0)]))
    assert drawn[:, 1].mean().item() == pytest.approx(0.1, abs=0.01)


def test_straight_through_is_exactly_one_hot_and_has_the_gradient_of_the_probabilities():
    logits = rand(6, 4, 5).requires_grad_()
    weight = rand(4, 5, seed=1)
    drawn = OneHot(logits, 0.01, 2).draw(Sampling(generators=[torch.Generator().manual_seed(0)]))
    assert drawn.requires_grad
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn.sum(-1), torch.ones(6, 4, dtype=F64))
    (gradient,) = torch.autograd.grad((drawn * weight).sum(), logits)
    probs = 0.99 * torch.softmax(logits, -1) + 0.01 / 5
    (expected,) = torch.autograd.grad((probs * weight).sum(), logits)
    torch.testing.assert_close(gradient, expected)


def test_the_mode_is_straight_through_too():
    logits = rand(3, 5).requires_grad_()
    mode = OneHot(logits, 0.01).mode
    assert torch.equal(mode.argmax(-1), logits.argmax(-1))
    assert torch.autograd.grad(mode[:, 0].sum(), logits)[0].abs().sum() > 0


def test_inverse_cdf_by_hand_and_at_the_edges():
    probs = torch.tensor([0.2, 0.5, 0.3]).expand(6, 3)
    uniform = torch.tensor([0.0, 0.1999, 0.2001, 0.6999, 0.7001, 1.0 - 2**-24])
    assert one_hot_from(probs, uniform).argmax(-1).tolist() == [0, 0, 1, 1, 2, 2]
    # Probabilities whose sum rounds to less than 1, and a draw above it: still exactly one class.
    short = torch.full((1, 3), 0.33)
    assert one_hot_from(short, torch.tensor([0.9999])).tolist() == [[0.0, 0.0, 1.0]]
    # A class without probability is never drawn, not even by exactly 0.
    assert one_hot_from(torch.tensor([[0.0, 1.0]]), torch.tensor([0.0])).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_one_hot_frequencies_follow_the_tempered_probabilities(temperature: float):
    logits = torch.tensor([1.0, 0.0, -1.0])
    drawn = OneHot(logits.expand(40_000, 3)).draw(
        Sampling(temperature=temperature, generators=[torch.Generator().manual_seed(0)])
    )
    torch.testing.assert_close(drawn.mean(0), torch.softmax(logits / temperature, 0), atol=0.01, rtol=0)


def test_normal_agrees_with_torch():
    mean, std, value = rand(2, 3, 4), rand(2, 3, 4, seed=1).exp(), rand(2, 3, 4, seed=2)
    mine, theirs = Normal(mean, std, 1), td.Independent(td.Normal(mean, std), 1)
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())
    scalar = Normal(mean, std, 0)
    torch.testing.assert_close(scalar.log_prob(value), td.Normal(mean, std).log_prob(value))
    assert (mine.batch_shape, mine.event_shape, scalar.event_shape) == ((2, 3), (4,), ())


def test_normal_draws_are_reparameterised_and_temperature_scales_the_variance():
    mean, std = torch.zeros(50_000, 1, requires_grad=True), torch.full((50_000, 1), 2.0)
    drawn = Normal(mean, std).draw(Sampling(temperature=4.0, generators=[torch.Generator().manual_seed(0)]))
    assert drawn.std().item() == pytest.approx(4.0, rel=0.02)
    assert drawn.requires_grad
    assert torch.autograd.grad(drawn.sum(), mean)[0].mean() == 1


def test_tanh_normal_log_prob_agrees_with_torch():
    mean, std = rand(2, 3), rand(2, 3, seed=1).exp() * 0.5
    value = torch.tanh(rand(2, 3, seed=2))
    theirs = td.Independent(td.TransformedDistribution(td.Normal(mean, std), [td.TanhTransform()]), 1)
    torch.testing.assert_close(TanhNormal(mean, std).log_prob(value), theirs.log_prob(value), rtol=1e-5, atol=1e-6)


EDGE = math.atanh(1 - 1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 2.0), (7.5, 0.3), (-9.0, 1.0), (30.0, 0.1), (2.0, 0.1)])
@pytest.mark.parametrize("bound", [1.0, -1.0, 1 - 1e-7])
def test_an_action_at_a_bound_has_the_probability_of_all_that_lies_there(mean: float, std: float, bound: float):
    sign = math.copysign(1.0, bound)
    expected = stats.norm.logsf(EDGE, loc=sign * mean, scale=std)
    found = TanhNormal(torch.tensor([mean], dtype=F64), torch.tensor([std], dtype=F64)).log_prob(
        torch.tensor([bound], dtype=F64)
    )
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("std", [0.1, 1.0])
@pytest.mark.parametrize("mean", [0.0, 4.0, 7.0, 7.5, -9.0, 50.0, -1000.0])
def test_the_score_of_a_squashed_normal_averages_to_zero(mean: float, std: float):
    """However saturated it is: else REINFORCE, whose advantages are noise around zero, drifts. In float32, as drawn."""
    rows = 200_000
    means = torch.full((rows, 1), mean, requires_grad=True)
    stds = torch.full((rows, 1), std, requires_grad=True)
    policy = TanhNormal(means, stds)
    drawn = policy.draw(Sampling(generators=[torch.Generator().manual_seed(0)])).detach()
    scores = torch.autograd.grad(policy.log_prob(drawn).sum(), (means, stds))
    for score in scores:
        assert bool(torch.isfinite(score).all())
        assert score.mean().item() == pytest.approx(0.0, abs=0.01 / std)


def test_a_saturated_policy_does_not_run_away_from_noise():
    """REINFORCE where the critic expects too much of whatever is done: the mean may wander, it must not flee."""
    mean = torch.full((1, 1), 9.0, requires_grad=True)
    optimizer = torch.optim.Adam([mean], 0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        policy = TanhNormal(mean.expand(64, 1), torch.full((64, 1), 0.5))
        action = policy.draw(Sampling(generators=[generator])).detach()
        advantage = torch.randn(64, generator=generator) - 0.3
        optimizer.zero_grad()
        (-(advantage * policy.log_prob(action)).mean() - 3e-4 * policy.entropy().mean()).backward()
        optimizer.step()
    assert abs(mean.item()) < 12


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.7, 1.0), (-1.5, 0.5)])
def test_tanh_normal_moments_agree_with_integration(mean: float, std: float):
    """The density integrates to 1; mean and entropy are its integrals over a fine grid of the base variable."""
    u = torch.linspace(mean - 9 * std, mean + 9 * std, 40_001, dtype=F64).unsqueeze(-1)
    density = td.Normal(torch.tensor(mean, dtype=F64), torch.tensor(std, dtype=F64)).log_prob(u).exp().squeeze(-1)
    slope = torch.log1p(-(torch.tanh(u) ** 2)).squeeze(-1)
    log_density = density.log() - slope
    step = (u[1] - u[0]).item()
    distribution = TanhNormal(torch.tensor([mean], dtype=F64), torch.tensor([std], dtype=F64))
    expected_entropy = -(density * log_density).sum().item() * step
    assert distribution.entropy().item() == pytest.approx(expected_entropy, abs=2e-3)
    expected_mean = (density * torch.tanh(u).squeeze(-1)).sum().item() * step
    assert distribution.mean.item() == pytest.approx(expected_mean, abs=2e-3)
    assert distribution.mode.item() == pytest.approx(math.tanh(mean))


def test_bernoulli_agrees_with_torch():
    logits = rand(3, 4)
    mine, theirs = Bernoulli(logits), td.Bernoulli(logits=logits)
    value = (logits > 0.3).to(F64)
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())
    torch.testing.assert_close(mine.mean, theirs.mean)
    assert torch.equal(mine.mode, (logits >= 0).to(F64))


def test_bernoulli_takes_soft_targets():
    """A discount folded into the continue target: the loss is least at that probability."""
    logits = torch.tensor([0.3], dtype=F64, requires_grad=True)
    target = torch.sigmoid(logits.detach())
    (gradient,) = torch.autograd.grad(Bernoulli(logits).log_prob(target).sum(), logits)
    assert gradient.item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_squared_error_is_a_normal_without_its_constant(scale: float):
    """Note 7: summed over pixels. N(mean, 1 / (2 scale)) up to log(pi / scale) / 2 per entry."""
    mean, value = rand(2, 3, 4, 5), rand(2, 3, 4, 5, seed=1)
    theirs = td.Independent(td.Normal(mean, math.sqrt(1 / (2 * scale))), 3)
    mine = SquaredError(mean, 3, scale)
    constant = 60 * 0.5 * math.log(math.pi / scale)
    torch.testing.assert_close(mine.log_prob(value) - constant, theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())
    assert mine.log_prob(value).shape == (2,)


def test_squared_error_by_hand():
    mean, value = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    assert SquaredError(mean, 2, 0.5).log_prob(value).item() == -7.0


def test_symlog_squared_error_by_hand():
    """Prediction 1 in symlog space against e^3 - 1, whose symlog is 3: an error of 2, squared."""
    distribution = SymlogSquaredError(torch.tensor([1.0]), 0)
    assert distribution.log_prob(torch.tensor([math.expm1(3.0)])).item() == pytest.approx(-4.0, rel=1e-5)
    assert distribution.mean.item() == pytest.approx(math.expm1(1.0), rel=1e-6)
