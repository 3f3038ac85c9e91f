"""A layer applied step by step with one weight gradient for all steps, beside ordinary steps."""

import pytest
import torch
from torch import nn

from reverie.nn import GRUCell, Scanned, StandardGRUCell

B, T, INPUTS, U = 3, 5, 4, 2


def run(layer: nn.Linear, added: torch.Tensor, start: torch.Tensor, scanned: bool) -> torch.Tensor:
    """(B, T, U): x_{t+1} = tanh of what comes out, so that gradients run through time."""
    product = Scanned(layer, added) if scanned else None
    x, found = start, []
    for t in range(T):
        y = added[:, t] + x @ layer.weight.T if product is None else product(x)
        found.append(y)
        x = torch.cat((torch.tanh(y), x[:, :U]), 1)
    return torch.stack(found, 1)


def inputs() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = nn.Linear(INPUTS, U, bias=False).double()
    added = torch.randn(B, T, U, dtype=torch.float64, requires_grad=True)
    start = torch.randn(B, INPUTS, dtype=torch.float64, requires_grad=True)
    return layer, added, start


def test_values_and_gradients_are_those_of_ordinary_steps():
    layer, added, start = inputs()
    leaves = [layer.weight, added, start]
    scale = torch.randn(B, T, U, dtype=torch.float64)
    found, expected = (run(layer, added, start, scanned) for scanned in (True, False))
    torch.testing.assert_close(found, expected)
    mine, theirs = (torch.autograd.grad((value * scale).sum(), leaves) for value in (found, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_loss_on_one_step_trains_by_the_steps_before_it_alone():
    layer, added, start = inputs()
    found, expected = (run(layer, added, start, scanned)[:, 2].sum() for scanned in (True, False))
    mine, theirs = (torch.autograd.grad(value, [layer.weight, added]) for value in (found, expected))
    torch.testing.assert_close(mine, theirs)
    assert not mine[1][:, 3:].any()


def test_the_graph_can_be_used_twice():
    layer, added, start = inputs()
    total = run(layer, added, start, True).sum()
    once = torch.autograd.grad(total, layer.weight, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(total, layer.weight)[0], once)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_alone_is_itself(bias):
    torch.manual_seed(0)
    layer = nn.Linear(INPUTS, U, bias=bias).double()
    x = torch.randn(B, T, INPUTS, dtype=torch.float64)
    product = Scanned.alone(layer, x)
    found = torch.stack([product(step) for step in x.unbind(1)], 1)
    torch.testing.assert_close(found, layer(x))
    mine = torch.autograd.grad(found.sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))
    torch.testing.assert_close(mine, theirs)


def test_a_frozen_layer_gets_nothing_and_passes_gradients_on():
    layer, added, start = inputs()
    layer.requires_grad_(False)
    run(layer, added, start, True).sum().backward()
    assert layer.weight.grad is None
    assert start.grad is not None
    assert start.grad.any()


@pytest.mark.parametrize("made", [GRUCell, StandardGRUCell])
def test_a_cell_whose_product_is_scanned_steps_and_learns_as_ever(made):
    torch.manual_seed(0)
    cell = made(2, 3).double()
    inputs, start = torch.randn(B, T, 2, dtype=torch.float64), torch.randn(B, 3, dtype=torch.float64)

    def unrolled(scanned: bool) -> torch.Tensor:
        layer = cell.linear if made is GRUCell else cell.recurrent
        product, state, states = Scanned.alone(layer, inputs) if scanned else None, start, []
        for x in inputs.unbind(1):
            state = cell(x, state, product=product)
            states.append(state)
        return torch.stack(states, 1)

    found, expected = unrolled(True), unrolled(False)
    torch.testing.assert_close(found, expected)
    mine, theirs = (torch.autograd.grad(value.square().sum(), list(cell.parameters())) for value in (found, expected))
    torch.testing.assert_close(mine, theirs)
