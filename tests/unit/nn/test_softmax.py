"""Softmax by columns: the same function as torch's by rows, forwards and backwards, in every layout it may leave."""

import pytest
import torch

from reverie.nn import OneHot
from reverie.nn.distributions.one_hot import _MANY, _SHORT, softmax


@pytest.mark.parametrize("classes", [2, 3, 8, _SHORT - 1, _SHORT])
@pytest.mark.parametrize("rows", [1, _MANY - 1, _MANY, 3 * _MANY])
def test_it_is_torchs_softmax_forwards_and_backwards(rows: int, classes: int) -> None:
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(rows)).mul_(5).requires_grad_()
    weights = torch.randn(rows, classes, generator=torch.Generator().manual_seed(1))
    (wanted,) = torch.autograd.grad((logits.double().softmax(-1) * weights).sum(), logits)
    found = softmax(logits)
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    torch.testing.assert_close(found, logits.double().softmax(-1).float(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient, wanted.float(), rtol=1e-4, atol=1e-6)


def test_many_short_rows_are_really_taken_by_columns() -> None:
    logits = torch.randn(2, _MANY // 2, 8)
    assert softmax(logits).stride() == (_MANY // 2, 1, _MANY)
    assert softmax(logits[:, 1:]).is_contiguous()


def test_a_distribution_in_that_layout_draws_and_judges_like_one_by_rows() -> None:
    logits = torch.randn(_MANY, 4, 8)
    turned, plain = OneHot(logits, 0.01, 2), OneHot(probs=OneHot(logits, 0.01, 2).probs.contiguous(), event_dims=2)
    noise = torch.rand(_MANY, 4)
    drawn = turned.from_noise(noise)
    assert torch.equal(drawn, plain.from_noise(noise))
    assert torch.equal(drawn.sum(-1), torch.ones(_MANY, 4))
    torch.testing.assert_close(turned.log_prob(drawn), plain.log_prob(drawn))
    torch.testing.assert_close(turned.kl(OneHot(logits.flip(0), 0.01, 2)), plain.kl(OneHot(logits.flip(0), 0.01, 2)))
