import math
from dataclasses import dataclass

import pytest
import torch

from reverie.contracts import ActionSpec, Latent, Transition
from reverie.nn import nll
from reverie_plugins.heads.config import BernoulliConfig, GaussianConfig, TwoHotConfig
from reverie_plugins.heads.head import BernoulliHead, GaussianHead, TwoHotHead

F, A = 6, 2
HEADS = [(TwoHotHead, TwoHotConfig), (GaussianHead, GaussianConfig), (BernoulliHead, BernoulliConfig)]


@dataclass(frozen=True)
class Plain(Latent):
    x: torch.Tensor

    @property
    def features(self) -> torch.Tensor:
        return self.x


def transition(*batch: int, seed: int = 0) -> Transition:
    generator = torch.Generator().manual_seed(seed)
    before, after = (Plain(torch.randn(*batch, F, generator=generator)) for _ in range(2))
    return Transition(before, torch.rand(*batch, A, generator=generator), after)


def make(head, config, **options):
    torch.manual_seed(0)
    return head(config(units=8, **options), F, ActionSpec("continuous", A))


@pytest.mark.parametrize(("head", "config"), HEADS)
@pytest.mark.parametrize("reads", ["after", "before_action", "transition"])
def test_shapes_and_no_dead_parameters(head, config, reads):
    module = make(head, config, reads=reads, layers=1)
    distribution = module(transition(3, 5))
    assert module.reads == reads
    assert (distribution.batch_shape, distribution.event_shape) == ((3, 5), ())
    assert distribution.mean.shape == distribution.mode.shape == distribution.entropy().shape == (3, 5)
    nll(distribution, torch.rand(3, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(("reads", "seen"), [("after", "after"), ("before_action", "ba"), ("transition", "baa")])
def test_each_reads_what_it_says_and_nothing_else(reads, seen):
    module = make(BernoulliHead, BernoulliConfig, reads=reads)
    base, other = transition(4), transition(4, seed=1)
    for part, expected in (("before", "ba" in seen), ("action", "ba" in seen), ("after", seen in ("after", "baa"))):
        mixed = Transition(
            **{name: getattr(other if name == part else base, name) for name in ("before", "action", "after")}
        )
        assert (not torch.equal(module(mixed).mean, module(base).mean)) == expected, part


@pytest.mark.parametrize("reads", ["after", "before_action", "transition"])
def test_a_missing_part_is_named(reads):
    module = make(BernoulliHead, BernoulliConfig, reads=reads)
    with pytest.raises(ValueError, match=reads):
        module(Transition(None, None, None))


@pytest.mark.parametrize("variant", ["symlog_linear", "symexp_spaced"])
def test_two_hot_starts_at_zero_and_fits_one_batch(variant):
    """Note 18: zero-initialised last layer."""
    head = make(TwoHotHead, TwoHotConfig, variant=variant)
    inputs, target = transition(16), torch.linspace(-20, 40, 16)
    assert head(inputs).mean.abs().max() < 1e-5
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        nll(head(inputs), target).mean().backward()
        optimizer.step()
    torch.testing.assert_close(head(inputs).mean, target, atol=2.0, rtol=0.1)


def test_gaussian_loss_is_half_the_squared_error_plus_a_constant():
    head = make(GaussianHead, GaussianConfig)
    loss = nll(head(transition(2)), torch.tensor([0.0, 3.0]))
    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, torch.tensor([constant, constant + 4.5]))


def test_gaussian_with_symlog():
    head = make(GaussianHead, GaussianConfig, symlog=True)
    loss = nll(head(transition(1)), torch.tensor([math.expm1(3.0)]))
    assert loss.item() == pytest.approx(4.5, rel=1e-5)


def test_bernoulli_mean_is_the_probability_of_going_on():
    head = make(BernoulliHead, BernoulliConfig)
    distribution = head(transition(7))
    assert ((distribution.mean > 0) & (distribution.mean < 1)).all()
    torch.testing.assert_close(nll(distribution, torch.ones(7)), -distribution.mean.log())
    torch.testing.assert_close(nll(distribution, torch.zeros(7)), -(1 - distribution.mean).log())


@pytest.mark.parametrize(("head", "config"), HEADS)
def test_presets_are_valid(head, config):
    for preset in config.presets.values():
        config(**preset)


def test_impossible_bins_are_refused():
    with pytest.raises(ValueError, match="symexp_spaced"):
        TwoHotConfig(variant="symexp_spaced", bins=100)
    with pytest.raises(ValueError, match="low"):
        TwoHotConfig(low=3, high=1)


def test_bins_are_not_saved_but_made_again():
    head = make(TwoHotHead, TwoHotConfig)
    assert not any("bins" in name for name in head.state_dict())
    assert head.bins.shape == (127,)
