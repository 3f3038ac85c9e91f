"""Optimizers, by the names and defaults of the field."""

from collections.abc import Iterable

import torch
from torch import nn


def adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    eps: float = 1e-8,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam, or AdamW where `weight_decay` is given.

    Fused: one call for all parameters takes a third of the time of torch's loop, which small networks feel.

    Raises:
        ValueError: without parameters, since a learner that trains nothing is a mistake.
    """
    listed = list(parameters)
    if not listed:
        raise ValueError("nothing to optimise: the slots that this learner trains hold no parameters")
    if weight_decay:
        return torch.optim.AdamW(listed, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(listed, lr=lr, eps=eps, betas=betas, fused=True)
