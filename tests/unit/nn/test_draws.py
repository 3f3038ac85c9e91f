import pytest
import torch
from torch import distributions as td

from reverie.contracts import Sampling
from reverie.nn import OneHot, TwoHot, draw_from, make_bins, normal


def seeded(n: int = 1, temperature: float = 1.0) -> Sampling:
    return Sampling(temperature=temperature, generators=[torch.Generator().manual_seed(seed) for seed in range(n)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: td.Normal(torch.ones(30_000), 2 * torch.ones(30_000)),
        lambda: td.Independent(td.Normal(torch.ones(30_000, 1), 2 * torch.ones(30_000, 1)), 1),
        lambda: td.Bernoulli(logits=torch.full((30_000,), 0.5)),
        lambda: td.OneHotCategorical(logits=torch.tensor([0.0, 1.0, 2.0]).expand(30_000, 3)),
        lambda: td.TransformedDistribution(
            td.Normal(torch.zeros(30_000), torch.ones(30_000)), [td.AffineTransform(3.0, 2.0)]
        ),
    ],
    ids=["normal", "independent", "bernoulli", "one-hot", "transformed"],
)
def test_draws_from_torch_distributions_have_their_mean(make):
    distribution = make()
    drawn = seeded().draw(distribution)
    assert drawn.shape == distribution.batch_shape + distribution.event_shape
    expected = torch.tensor(3.0) if isinstance(distribution, td.TransformedDistribution) else distribution.mean[0]
    torch.testing.assert_close(drawn.mean(0), expected, atol=0.04, rtol=0)


def test_categorical_gives_indices():
    drawn = draw_from(td.Categorical(logits=torch.tensor([0.0, 1.0]).expand(30_000, 2)), seeded())
    assert drawn.dtype == torch.int64
    assert drawn.float().mean().item() == pytest.approx(0.731, abs=0.01)


def test_torch_one_hot_draws_are_straight_through():
    logits = torch.zeros(4, 3, requires_grad=True)
    drawn = seeded().draw(td.OneHotCategorical(logits=logits))
    assert torch.autograd.grad(drawn[:, 0].sum(), logits)[0].abs().sum() > 0


def test_normal_draws_are_reparameterised():
    mean = torch.zeros(4, requires_grad=True)
    assert torch.autograd.grad(seeded().draw(td.Normal(mean, torch.ones(4))).sum(), mean)[0].sum() == 4


def test_the_same_generator_gives_the_same_draw_and_the_global_one_is_not_touched():
    state = torch.get_rng_state()
    for distribution in (normal(torch.zeros(5, 2)), OneHot(torch.zeros(5, 3)), td.Normal(torch.zeros(5), 1.0)):
        assert torch.equal(seeded().draw(distribution), seeded().draw(distribution))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("make", [lambda n: normal(torch.zeros(n, 3)), lambda n: OneHot(torch.zeros(n, 4, 3), 0.01, 2)])
def test_a_row_draws_the_same_alone_and_beside_others(make):
    together = seeded(4).draw(make(4))
    alone = Sampling(generators=[torch.Generator().manual_seed(2)]).draw(make(1))
    assert torch.equal(together[2:3], alone)


def test_two_hot_answers_with_its_mean():
    distribution = TwoHot(torch.randn(4, 5), make_bins("symlog_linear", 5, -1, 1))
    assert torch.equal(seeded().draw(distribution), distribution.mean)


def test_unknown_distributions_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"Poisson.*draw\(sampling\)"):
        draw_from(td.Poisson(torch.ones(3)), seeded())
