"""Normaliser, slow copy, optimiser, symlog and nll."""

import math

import pytest
import torch

from reverie.nn import MLP, OneHot, ReturnScale, RunningNormalizer, SlowCopy, adam, nll, normal, symexp, symlog


def test_symlog_by_hand_and_back():
    torch.testing.assert_close(symlog(torch.tensor([math.e - 1, 0.0, 1 - math.e])), torch.tensor([1.0, 0.0, -1.0]))
    x = torch.linspace(-50, 50, 101, dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)


@pytest.mark.parametrize("splits", [(40,), (1, 39), (7, 0, 13, 20)])
def test_normaliser_equals_the_moments_of_all_rows(splits):
    rows = 5 + 3 * torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0))
    normalizer = RunningNormalizer((2, 3))
    for part in rows.split(splits):
        normalizer.update(part)
    expected = (rows.double() - rows.double().mean(0)) / rows.double().std(0, unbiased=False)
    torch.testing.assert_close(normalizer(rows).double(), expected, atol=1e-5, rtol=1e-5)
    assert normalizer(rows).dtype == torch.float32


@pytest.mark.parametrize("seen", [0, 10])
def test_moments_of_ranks_merge_to_those_of_all_rows(seen):
    """Twice in a row, from a common past, with ranks that saw many rows, one and none: as one process saw them all."""
    generator = torch.Generator().manual_seed(0)
    past, *news = (5 + 3 * torch.randn(n, 2, 3, generator=generator) for n in (seen, 7, 1, 0, 4, 4, 2))
    alone = RunningNormalizer((2, 3))
    alone.update(past)
    ranks = [RunningNormalizer((2, 3)) for _ in range(3)]
    for rank in ranks:
        rank.update(past)
    for turn in (news[:3], news[3:]):
        common = ranks[0].moments()
        for rank, rows in zip(ranks, turn, strict=True):
            rank.update(rows)
            alone.update(rows)
        everybody = torch.stack([rank.moments() for rank in ranks])
        for rank in ranks:
            rank.merge(common, everybody)
            torch.testing.assert_close(rank.moments(), alone.moments())


def test_normaliser_is_the_identity_before_anything_was_seen():
    x = torch.randn(4, 2)
    assert torch.equal(RunningNormalizer((2,))(x), x)


def test_normaliser_survives_large_offsets():
    """Sums of squares would lose all digits here; merged moments do not."""
    rows = 1e6 + torch.tensor([[0.0], [1.0]]).repeat(500, 1)
    normalizer = RunningNormalizer((1,))
    for row in rows.split(10):
        normalizer.update(row)
    assert normalizer.std.item() == pytest.approx(0.5, rel=1e-6)


def test_normaliser_keeps_constant_entries_finite():
    normalizer = RunningNormalizer((1,))
    normalizer.update(torch.ones(10, 1))
    assert normalizer(torch.tensor([[1.0], [1.001]])).flatten().tolist() == pytest.approx([0.0, 1.0], abs=1e-3)


def test_normaliser_is_saved():
    one, other = RunningNormalizer((2,)), RunningNormalizer((2,))
    one.update(torch.randn(9, 2))
    other.load_state_dict(one.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(one(x), other(x))


def test_statistics_keep_their_precision_in_a_model_of_low_precision():
    """`trainer.precision=bf16-true` converts every buffer: a count would stop at 256, an average at two digits."""
    normalizer, scale = RunningNormalizer((1,)).to(torch.bfloat16), ReturnScale(0.99).to(torch.bfloat16)
    for step in range(2000):
        normalizer.update(torch.full((1, 1), 100.0 + step % 2))
        scale.update(torch.linspace(0, 100, 101))
    assert int(normalizer.count) == 2000
    assert normalizer.std.item() == pytest.approx(0.5, rel=1e-6)
    assert scale.divisor().item() == pytest.approx(90.0, rel=1e-4)
    assert normalizer(torch.zeros(2, 1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_slow_copy_starts_equal_and_follows_by_its_rate():
    """Note 18: after one update with rate 0.02 a weight that jumped from 0 to 1 stands at 0.02, after two at 0.0396."""
    source = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(source.weight)
    slow = SlowCopy(source, 0.02)
    assert torch.equal(slow.module.weight, source.weight)
    torch.nn.init.ones_(source.weight)
    assert slow.module.weight.sum() == 0  # a copy, not a view
    slow.update(source)
    torch.testing.assert_close(slow.module.weight, torch.full((1, 2), 0.02))
    slow.update(source)
    torch.testing.assert_close(slow.module.weight, torch.full((1, 2), 0.0396))


def test_slow_copy_is_not_trained_and_not_overwritten_on_resume():
    source = MLP(2, 4, 1, 1)
    slow = SlowCopy(source)
    assert not any(parameter.requires_grad for parameter in slow.parameters())
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    slow.update(source)
    resumed = SlowCopy(MLP(2, 4, 1, 1))
    resumed.load_state_dict(slow.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(resumed(x), slow(x))
    assert not torch.equal(resumed(x), source(x))


def test_slow_copy_every_n_updates():
    source = torch.nn.Linear(1, 1)
    slow = SlowCopy(source, 1.0, every=3)
    torch.nn.init.constant_(source.weight, 7.0)
    slow.update(source)
    slow.update(source)
    assert slow.module.weight.item() != 7.0
    slow.update(source)
    assert slow.module.weight.item() == 7.0


def test_slow_copy_passes_gradients_to_its_inputs():
    x = torch.randn(3, 2, requires_grad=True)
    SlowCopy(MLP(2, 4, 1, 1))(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_adam_first_step_by_hand():
    """The first step of Adam is lr * g / (|g| + eps)."""
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = adam([parameter], lr=0.1, eps=0.5)
    (2 * parameter).sum().backward()
    optimizer.step()
    assert parameter.item() == pytest.approx(1 - 0.1 * 2 / 2.5)


def test_adam_without_parameters_is_refused():
    with pytest.raises(ValueError, match="nothing to optimise"):
        adam([], 1e-3)


def test_nll_over_batch_and_members():
    """With M = B = T the wrong axis would broadcast in silence: here each has its own size, and then the same one."""
    target = torch.randn(2, 3)
    mean = torch.randn(2, 3, 4)
    expected = -torch.distributions.Normal(mean, 1.0).log_prob(target[..., None]).mean(-1)
    torch.testing.assert_close(nll(normal(mean, 1.0, 0), target, members=4), expected)
    torch.testing.assert_close(nll(normal(target, 1.0, 0), target), torch.full((2, 3), 0.5 * math.log(2 * math.pi)))
    square = torch.randn(3, 3)
    got = nll(normal(square[..., None].expand(3, 3, 3), 1.0, 0), square, members=3)
    torch.testing.assert_close(got, torch.full((3, 3), 0.5 * math.log(2 * math.pi)))


def test_nll_of_vectors_with_members():
    target = torch.eye(3)[:2]  # (2, 3)
    logits = torch.randn(2, 5, 3)
    expected = -(torch.log_softmax(logits, -1) * target[:, None]).sum(-1).mean(-1)
    torch.testing.assert_close(nll(OneHot(logits), target, members=5), expected)


@pytest.mark.parametrize(
    ("shape", "target", "members"),
    [
        ((2, 3), (3,), None),
        ((2, 3, 4), (2, 3), None),
        ((2, 3), (2, 3), 4),
        ((2, 3, 4), (2, 3), 5),
        ((2, 1), (2, 3), None),
    ],
)
def test_nll_refuses_shapes_that_would_broadcast(shape, target, members):
    with pytest.raises(ValueError, match="does not fit"):
        nll(normal(torch.zeros(*shape), 1.0, 0), torch.zeros(*target), members)
