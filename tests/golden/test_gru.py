"""Correctness note 11: the recurrent cell, against plain loops over numbers."""

import math

import pytest
import torch

from reverie.nn import GRUCell
from reverie.nn.blocks import NORM_EPS


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(x: list[float], state: list[float], weight: list[list[float]], gain: list[float], offset: list[float]):
    joined = x + state
    sums = [sum(w * v for w, v in zip(row, joined, strict=True)) for row in weight]
    mean = sum(sums) / len(sums)
    variance = sum((s - mean) ** 2 for s in sums) / len(sums)
    normed = [(s - mean) / math.sqrt(variance + NORM_EPS) * g + o for s, g, o in zip(sums, gain, offset, strict=True)]
    size = len(state)
    answer = []
    for i in range(size):
        reset, candidate, update = sigmoid(normed[i]), normed[size + i], sigmoid(normed[2 * size + i] - 1)
        answer.append(update * math.tanh(reset * candidate) + (1 - update) * state[i])
    return answer


def test_equals_the_equations():
    torch.manual_seed(0)
    cell = GRUCell(3, 4).double()
    for parameter in (cell.norm.weight, cell.norm.bias):
        torch.nn.init.normal_(parameter)
    x, state = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    weights = (cell.linear.weight.tolist(), cell.norm.weight.tolist(), cell.norm.bias.tolist())
    expected = [by_hand(a, b, *weights) for a, b in zip(x.tolist(), state.tolist(), strict=True)]
    torch.testing.assert_close(cell(x, state), torch.tensor(expected, dtype=torch.float64))


def test_a_fresh_cell_remembers():
    """With silent gates the update is sigmoid(-1): 73% of the state stays, where sigmoid(0) would keep half."""
    cell = GRUCell(2, 5)
    torch.nn.init.zeros_(cell.linear.weight)
    kept = cell(torch.zeros(1, 2), torch.ones(1, 5))
    torch.testing.assert_close(kept, torch.full((1, 5), 1 - sigmoid(-1.0)))


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_every_norm_keeps_shapes_and_gradients(norm):
    cell = GRUCell(3, 4, norm)
    out = cell(torch.randn(2, 3), torch.randn(2, 4))
    out.sum().backward()
    assert out.shape == (2, 4)
    assert all(parameter.grad is not None for parameter in cell.parameters())
