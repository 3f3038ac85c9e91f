"""Slowly moving copies of networks."""

import copy
from typing import Any

import torch
from torch import nn


class SlowCopy(nn.Module):
    """An exponential moving average of a module's parameters, called like the module (note 18).

    It starts equal. As a submodule of a learner it is saved and restored with it; nothing else overwrites it.

    Args:
        source: the module to follow.
        rate: how far each `update` moves towards the source; 1 copies.
        every: move only at each n-th `update`.
    """

    count: torch.Tensor

    def __init__(self, source: nn.Module, rate: float = 0.02, every: int = 1) -> None:
        super().__init__()
        self.module = copy.deepcopy(source).requires_grad_(False)
        self.rate, self.every = rate, every
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the source's `forward` gives."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move towards the source; buffers are copied."""
        self.count += 1
        if self.every > 1 and int(self.count) % self.every:
            return
        mine: list[torch.Tensor] = list(self.module.parameters())
        theirs = [parameter.detach() for parameter in source.parameters()]
        if len(mine) != len(theirs):
            raise ValueError(f"the slow copy has {len(mine)} parameters, its source {len(theirs)}")
        torch._foreach_lerp_(mine, theirs, self.rate)
        for slow, fast in zip(self.module.buffers(), source.buffers(), strict=True):
            slow.copy_(fast)
