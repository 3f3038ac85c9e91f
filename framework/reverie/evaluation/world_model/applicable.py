"""What a metric answers where there is nothing to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class NotApplicable:
    """No number, and the reason: neither 0 nor not-a-number could say it.

    Args:
        why: one clause, such as "this recipe has no decoder".
    """

    why: str

    def __str__(self) -> str:
        return self.why


NOTHING = "nothing was measured"
NOT_FINITE = "the model's predictions are not finite"


def finite(*values: float) -> bool:
    """Whether all of these are numbers."""
    return all(math.isfinite(value) for value in values)


def reduced(value: Tensor | list[Tensor]) -> Tensor:
    """A list state as one tensor: it is a list before a distributed reduction and a tensor after it."""
    if isinstance(value, Tensor):
        return value.reshape(-1)
    return torch.cat([part.reshape(-1) for part in value]) if value else torch.zeros(0, dtype=torch.float64)


def exact(value: Tensor, like: Tensor) -> Tensor:
    """In double precision where the metric lives (moved first: not every device knows doubles)."""
    return value.detach().to(like.device).double()


def rank_correlation(predicted: Tensor, real: Tensor, *, what: str) -> float | NotApplicable:
    """Spearman's, over (N,) pairs; equal values share their mean rank.

    Args:
        what: the name of `real` in the reason, such as "reward".
    """
    from torchmetrics.functional.regression import spearman_corrcoef

    if not bool(torch.isfinite(predicted).all()):
        return NotApplicable(NOT_FINITE)
    if bool((real == real[0]).all()):
        return NotApplicable(f"the real {what} is the same everywhere ({float(real[0]):.4g})")
    if bool((predicted == predicted[0]).all()):
        return NotApplicable(f"the model predicts the same {what} everywhere ({float(predicted[0]):.4g})")
    return float(spearman_corrcoef(predicted, real))
