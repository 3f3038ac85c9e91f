"""What the distributions of this package share."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_of(value: Tensor, event_dims: int) -> torch.Size:
    """The leading dimensions of a tensor whose last `event_dims` dimensions are one event."""
    return value.shape[: value.dim() - event_dims]


def event_of(value: Tensor, event_dims: int) -> torch.Size:
    """The last `event_dims` dimensions."""
    return value.shape[value.dim() - event_dims :]


def sum_event(value: Tensor, dims: int) -> Tensor:
    """Sum over the last `dims` dimensions; none for 0 (torch's own `sum(())` would sum over all)."""
    return value.sum(tuple(range(-dims, 0))) if dims else value
