"""What returns of replayed sequences are anchored in (current DreamerV3): the critic, and what was imagined."""

from __future__ import annotations

import torch
from torch import Tensor


def anchors(value: Tensor, times: Tensor, imagined: Tensor) -> Tensor:
    """(B, T) without gradient: `value` of all states, replaced by the returns that were imagined from some of them.

    Args:
        value: (B, T).
        times: (B, K), the states from which imagination started.
        imagined: (B * K,), their imagined returns.
    """
    return torch.scatter(value.detach(), 1, times, imagined.detach().reshape(times.shape).to(value.dtype))
