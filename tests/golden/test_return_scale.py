"""Correctness note 16: S = EMA(P95 - P5), divisor max(1, S), and it survives a checkpoint."""

import numpy as np
import pytest
import torch

from reverie.nn import ReturnScale


def test_equals_numpy_percentiles_and_a_plain_average():
    generator = torch.Generator().manual_seed(0)
    scale = ReturnScale(decay=0.9)
    low = high = 0.0
    for _ in range(5):
        returns = 40 * torch.randn(7, 11, generator=generator)
        low = 0.9 * low + 0.1 * float(np.percentile(returns.numpy(), 5))
        high = 0.9 * high + 0.1 * float(np.percentile(returns.numpy(), 95))
        scale.update(returns)
    assert scale.divisor().item() == pytest.approx(high - low, rel=1e-5)
    assert scale.divisor().item() > 1


def test_small_returns_are_not_blown_up():
    scale = ReturnScale(decay=0.0)
    scale.update(torch.linspace(0, 0.5, 101))
    assert scale.range().item() == pytest.approx(0.45)
    assert scale.divisor().item() == 1.0


def test_without_the_zero_it_starts_from():
    scale = ReturnScale(decay=0.99, debias=True)
    scale.update(torch.linspace(0, 100, 101))
    assert scale.divisor().item() == pytest.approx(90.0, rel=1e-4)


def test_percentiles_are_those_of_all_ranks():
    scale = ReturnScale(decay=0.0)
    scale.update(torch.zeros(50), gather=lambda rows: torch.cat([rows, torch.full((50,), 10.0)]))
    assert scale.range().item() == pytest.approx(10.0)


def test_saved_and_restored():
    scale, other = ReturnScale(), ReturnScale()
    scale.update(torch.linspace(0, 1000, 101))
    other.load_state_dict(scale.state_dict())
    assert other.range() == scale.range() > 0
