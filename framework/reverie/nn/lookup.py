"""Products with one-hot vectors by looking rows of a table up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_WORTH = 2**24
"""Multiplications of the product from which on adding up table rows beats them: the table has to be laid out anew."""


def lookup_pays(index: Tensor, weight: Tensor) -> bool:
    """Whether `onto_lookup` is the faster way to the product: on a CPU, in full precision, for many rows.

    Args:
        index: (*B, G) classes.
        weight: (U, G * K) of the layer.
    """
    groups = max(1, index.shape[-1])
    return (
        index.numel() // groups * weight.numel() >= _WORTH
        and weight.shape[1] >= 8 * groups
        and weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
    )


def onto_lookup(added: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """`added + one_hot(index) @ weight.T` without the multiplications by zero, (*B, U).

    No gradient enters the one-hot vectors: where a straight-through one is wanted, multiply. The weight and what is
    added have theirs.

    Args:
        added: (*B, U).
        weight: (U, G * K).
        index: (*B, G) classes in 0..K - 1; K stands for a vector of zeros.
    """
    result: Tensor = _Lookup.apply(added, weight, index)  # type: ignore[no-untyped-call]
    return result


class _Lookup(torch.autograd.Function):
    """The weight's gradient is a dense product again: adding rows up by class was no faster (docs/performance.md)."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, weight: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.classes = weight.shape[1] // index.shape[-1]
        outputs, groups = weight.shape[0], index.shape[-1]
        # One row more per group, of zeros, for "no class".
        table = F.pad(weight.t().reshape(groups, ctx.classes, outputs), (0, 0, 0, 1))  # (G, K + 1, U)
        places = (index + _starts(groups, ctx.classes + 1, index)).reshape(-1, groups)  # (R, G)
        summed = F.embedding_bag(places, table.reshape(-1, outputs), mode="sum")  # (R, U)
        return summed.view(added.shape).add_(added)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,), (index,) = grads, ctx.saved_tensors
        weight = None
        if ctx.needs_input_grad[1]:
            rows = grad.reshape(-1, grad.shape[-1])  # (R, U)
            places = index.reshape(len(rows), -1)  # (R, G)
            vectors = F.embedding(places, torch.eye(ctx.classes + 1, ctx.classes, dtype=rows.dtype))  # (R, G, K)
            weight = rows.t() @ vectors.flatten(1)  # (U, G * K)
        return grad if ctx.needs_input_grad[0] else None, weight, None


def _starts(groups: int, rows: int, like: Tensor) -> Tensor:
    """(G,) where the rows of each group begin in the table."""
    return torch.arange(0, groups * rows, rows, dtype=like.dtype, device=like.device)
