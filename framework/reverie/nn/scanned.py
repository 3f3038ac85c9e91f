"""A linear layer that is applied at every step of a scan, with its weight's gradient made once for all steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Scanned:
    """`added_t + x_t @ weight.T` for t = 0, 1, ... T - 1, where all `added_t` are known before the first step.

    Backpropagation through time multiplies and adds up a small weight gradient at every step, as large as the weight
    itself. Here the steps only hand their gradients on to `added`; when all of them have arrived, one product over
    B * T rows makes the weight's gradient. The numbers are those of T separate steps, up to the order of a sum.

    Args:
        layer: its weight is read; a bias belongs into `added`.
        added: (B, T, U).

    Attributes:
        steps: T tensors (B, U), for the calls in their order. Each is used once.
    """

    def __init__(self, layer: nn.Linear, added: Tensor) -> None:
        self._inputs: list[Tensor] = []
        self._weight = layer.weight.detach().t()  # (I, U)
        joined: Tensor = _Joined.apply(added, layer.weight, self._inputs)  # type: ignore[no-untyped-call]  # (B, T, U)
        self.steps = joined.unbind(1)

    @classmethod
    def alone(cls, layer: nn.Linear, like: Tensor) -> Scanned:
        """`layer(x_t)`, bias included, for as many rows and steps as `like` (B, T, ...) has."""
        nothing = like.new_zeros(1) if layer.bias is None else layer.bias
        return cls(layer, nothing.expand(*like.shape[:2], layer.out_features))  # (B, T, U)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, I), the input of the next step -> (B, U)."""
        step = len(self._inputs)
        self._inputs.append(x.detach())
        return torch.addmm(self.steps[step], x, self._weight)


class _Joined(torch.autograd.Function):
    """Gives `added` back; the gradient that comes back for it is that of all products."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, weight: Tensor, inputs: list[Tensor]) -> Tensor:
        ctx.inputs = inputs
        return added.view_as(added)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (grad,) = grads  # (B, T, U)
        weight = None
        if ctx.needs_input_grad[1]:
            inputs = torch.stack(ctx.inputs, 1).flatten(0, 1).to(grad.dtype)  # (B * T, I)
            weight = grad.flatten(0, 1).t() @ inputs  # (U, I)
        return grad, weight, None
