"""Bootstrapped data sets without lists of rows: how often a member's data set holds a row follows from the row's id."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MIX = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))
_STEP = -0x61C8864680B583EB
"""The constants of SplitMix64 (Steele et al. 2014), as signed numbers."""
_CDF = tuple(math.exp(-1) * sum(1 / math.factorial(k) for k in range(n + 1)) for n in range(9))
"""P(count <= n) of a Poisson variable with mean 1, n = 0..8."""


def bootstrap_counts(step_id: Tensor, members: int) -> Tensor:
    """How often each member's data set holds each row: (*B) int64 -> (M, *B) float32.

    Drawing N rows out of N with replacement takes a row a number of times that is Poisson with mean 1, as N grows. Here
    that number is a function of the row's global id and of the member, so that it is the same whenever the row is
    sampled, in whichever order, and after a resume; a new row changes nothing for the old ones.
    """
    member = torch.arange(1, members + 1, device=step_id.device).reshape(-1, *[1] * step_id.dim())  # (M, 1, ...)
    state = _mixed(step_id + 1)[None] + member * _STEP  # (M, *B): one sequence per row, one place in it per member
    uniform = (_shifted(_mixed(state), 11)).double() * 2.0**-53  # (M, *B) in [0, 1)
    edges = torch.tensor(_CDF, dtype=torch.float64, device=step_id.device)
    return (uniform[..., None] >= edges).sum(-1).float()


def _mixed(state: Tensor) -> Tensor:
    """The output function of SplitMix64 on int64, whose products wrap round."""
    for shift, factor in _MIX:
        state = (state ^ _shifted(state, shift)) * factor
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """A logical shift to the right (torch's own repeats the sign)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
