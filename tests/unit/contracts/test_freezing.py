"""Freezing builds graphs through parameters without training them, and nests."""

import torch
from torch import nn

from reverie.contracts import frozen, thawed


def test_gradient_passes_through_frozen_parameters_but_not_into_them() -> None:
    model, source = nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    with frozen([model]):
        loss = model(source).sum()
    loss.backward()
    assert source.grad is not None
    assert torch.allclose(source.grad, model.weight.sum(0).expand(4, 3))
    assert model.weight.grad is None


def test_contexts_nest_and_restore_exactly_what_they_took() -> None:
    first, second, never = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    never.weight.requires_grad_(False)
    with frozen([first, never]):
        with frozen([second, first]):
            assert not any(
                p.requires_grad for m in (first, second, never) for p in m.parameters() if p is not never.bias
            )
        assert second.weight.requires_grad
        assert not first.weight.requires_grad
    assert first.weight.requires_grad
    assert never.bias.requires_grad
    assert not never.weight.requires_grad


def test_thawed_restores_gradients_inside_and_the_freeze_after() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad(), frozen([model]):
        with thawed():
            assert model.weight.requires_grad
            assert model(torch.ones(1, 2)).requires_grad
        assert not model.weight.requires_grad
        assert not torch.is_grad_enabled()
    assert model.weight.requires_grad


def test_the_inner_of_two_thaws_leaves_the_outer_its_gradients() -> None:
    model = nn.Linear(2, 2)
    with frozen([model]):
        with thawed():
            with thawed():
                pass
            assert model.weight.requires_grad
        assert not model.weight.requires_grad
    assert model.weight.requires_grad


def test_a_freeze_ends_when_its_body_raises() -> None:
    model = nn.Linear(2, 2)
    try:
        with frozen([model]):
            raise KeyError("stop")
    except KeyError:
        pass
    assert model.weight.requires_grad
