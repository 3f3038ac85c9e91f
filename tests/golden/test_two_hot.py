"""Correctness note 12: both variants of two-hot regression, by hand and by a float64 loop."""

import math

import pytest
import torch

from reverie.nn import TwoHot, make_bins


def loop_target(x: float, bins: list[float]) -> list[float]:
    """Mass on the two neighbours in proportion to closeness, by linear search."""
    target = [0.0] * len(bins)
    x = min(max(x, bins[0]), bins[-1])
    for k in range(len(bins) - 1):
        if bins[k] <= x <= bins[k + 1]:
            share = (x - bins[k]) / (bins[k + 1] - bins[k])
            target[k], target[k + 1] = 1 - share, share
            return target
    raise AssertionError("unreachable")


VALUES = [-5000.0, -3.2, -0.4, 0.0, 1e-3, 0.7, 12.0, 1e6]


@pytest.mark.parametrize("variant", ["symlog_linear", "symexp_spaced"])
def test_log_prob_is_minus_the_cross_entropy_to_the_loop_target(variant):
    bins = make_bins(variant, 21, -5.0, 5.0)
    logits = torch.randn(len(VALUES), 21, generator=torch.Generator().manual_seed(0))
    exact = [-5.0 + 0.5 * k for k in range(21)]  # symlog positions, from the definition
    if variant == "symexp_spaced":
        exact = [math.copysign(math.expm1(abs(b)), b) for b in exact]
    for row, value in enumerate(VALUES):
        x = math.copysign(math.log1p(abs(value)), value) if variant == "symlog_linear" else value
        log_probs = torch.log_softmax(logits[row].double(), 0).tolist()
        expected = sum(t * lp for t, lp in zip(loop_target(x, exact), log_probs, strict=True))
        got = TwoHot(logits[row], bins, variant).log_prob(torch.tensor(value))
        assert got.item() == pytest.approx(expected, abs=2e-4)


def test_targets_by_hand():
    """Bins at symlog -1, 0, 1. symexp(0.25) lies a quarter of the way up."""
    bins = make_bins("symlog_linear", 3, -1.0, 1.0)
    lower, upper, weight = TwoHot(torch.zeros(3), bins, "symlog_linear").target(torch.tensor(math.expm1(0.25)))
    assert (lower.item(), upper.item(), weight.item()) == (1, 2, pytest.approx(0.25, abs=1e-6))
    # As a plain number, 0.25 lies 0.25 / (e - 1) of the way to the bin at e - 1.
    bins = make_bins("symexp_spaced", 3, -1.0, 1.0)
    _, _, weight = TwoHot(torch.zeros(3), bins, "symexp_spaced").target(torch.tensor(0.25))
    assert weight.item() == pytest.approx(0.25 / math.expm1(1), abs=1e-6)


def test_the_variants_predict_differently():
    """Half the mass at 0, half at the top: symexp(1/2) for one, half of symexp(1) for the other."""
    logits = torch.tensor([-1e9, 0.0, 0.0])
    linear = TwoHot(logits, make_bins("symlog_linear", 3, -1.0, 1.0), "symlog_linear").mean
    spaced = TwoHot(logits, make_bins("symexp_spaced", 3, -1.0, 1.0), "symexp_spaced").mean
    assert linear.item() == pytest.approx(math.expm1(0.5), rel=1e-6)
    assert spaced.item() == pytest.approx(math.expm1(1.0) / 2, rel=1e-6)


@pytest.mark.parametrize("value", [0.3, 0.0])
@pytest.mark.parametrize("graph", [False, True])
def test_uniform_logits_predict_exactly_zero(value: float, graph: bool):
    bins = make_bins("symexp_spaced", 255, -20.0, 20.0)
    logits = torch.full((4, 255), value).requires_grad_(graph)  # probabilities are computed in another way with a graph
    assert torch.equal(TwoHot(logits, bins, "symexp_spaced").mean, torch.zeros(4))
    # The plain sum does not: terms of 1e6 leave a rest of rounding, which is why the ends are paired.
    rounded = torch.cumsum(torch.softmax(logits[0], 0) * bins, 0)[-1]
    assert rounded != 0


@pytest.mark.parametrize("variant", ["symlog_linear", "symexp_spaced"])
def test_a_perfect_fit_returns_the_number(variant):
    bins = make_bins(variant, 41, -6.0, 6.0)
    values = torch.tensor([-100.0, -1.0, 0.0, 0.5, 33.0])
    lower, upper, weight = TwoHot(torch.zeros(5, 41), bins, variant).target(values)
    probs = torch.zeros(5, 41).scatter_(1, lower[:, None], 1 - weight[:, None])
    probs.scatter_(1, upper[:, None], weight[:, None])
    predicted = TwoHot(probs.clamp_min(1e-30).log(), bins, variant).mean
    torch.testing.assert_close(predicted, values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["symlog_linear", "symexp_spaced"])
def test_targets_beyond_the_bins_count_as_the_outermost(variant):
    bins = make_bins(variant, 5, -1.0, 1.0)
    logits = torch.randn(5, generator=torch.Generator().manual_seed(3))
    distribution = TwoHot(logits, bins, variant)
    top, bottom = distribution.log_prob(torch.tensor(1e9)), distribution.log_prob(torch.tensor(-1e9))
    log_probs = torch.log_softmax(logits, 0)
    torch.testing.assert_close(top, log_probs[-1])
    torch.testing.assert_close(bottom, log_probs[0])


def test_learning_finds_the_mean_of_noisy_targets():
    """Minimising the loss on 0 and 10 in equal parts predicts 5 for plain targets, and less for symlog ones."""
    targets = torch.tensor([0.0, 10.0])
    answers = {}
    for variant in ("symlog_linear", "symexp_spaced"):
        bins = make_bins(variant, 41, -4.0, 4.0)
        logits = torch.zeros(41, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.3)
        for _ in range(300):
            optimizer.zero_grad()
            (-TwoHot(logits.expand(2, 41), bins, variant).log_prob(targets).mean()).backward()
            optimizer.step()
        answers[variant] = TwoHot(logits.detach(), bins, variant).mean.item()
    assert answers["symexp_spaced"] == pytest.approx(5.0, abs=0.1)
    assert answers["symlog_linear"] == pytest.approx(math.sqrt(11) - 1, abs=0.1)


@pytest.mark.parametrize(
    ("variant", "count", "low", "high"),
    [("symlog_linear", 1, -1, 1), ("symlog_linear", 5, 1, 1), ("symexp_spaced", 4, -1, 1), ("symexp_spaced", 5, -1, 2)],
)
def test_impossible_bins_are_refused(variant, count, low, high):
    with pytest.raises(ValueError, match="bins need"):
        make_bins(variant, count, low, high)
