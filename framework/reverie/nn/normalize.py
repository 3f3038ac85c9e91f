"""Running statistics of observations."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn


class PreciseBuffers(nn.Module):
    """A module whose buffers move between devices but keep their precision, whatever the model is converted to.

    In bfloat16 a count stops at 256, and a moving average stands still once its steps are below half a percent.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        precise = {name: value.to(fn(value).device) for name, value in self._buffers.items() if value is not None}
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._buffers.update(precise)
        return applied


class RunningNormalizer(PreciseBuffers):
    """(x - mean) / std over everything that `update` has seen; the identity before that.

    The statistics are float64 buffers, merged batch by batch (Chan et al. 1979), so that any order and any split of
    the same rows gives the same numbers up to rounding.

    Args:
        shape: of one row.
        min_std: entries that hardly vary are divided by this, so that a constant one stays harmless when it moves.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    def __init__(self, shape: Sequence[int], min_std: float = 1e-3) -> None:
        super().__init__()
        self.min_std = min_std
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(*shape, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(*shape, dtype=torch.float64))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in rows (n, *shape)."""
        if not len(rows):
            return
        rows = rows.to(self.mean.device, torch.float64)
        number = rows.shape[0]
        if number == 1:  # what an agent sees at each step: no spread of its own
            mean = rows[0]  # (*shape)
        else:
            mean = rows.mean(0)  # (*shape)
            self.m2 += (rows - mean).square_().sum(0)
        share = number / (self.count + number)  # ()
        delta = mean - self.mean  # (*shape)
        self.m2.addcmul_(delta.square(), self.count * share)
        self.mean.addcmul_(delta, share)
        self.count += number

    @property
    def std(self) -> Tensor:
        """(*shape) float64, at least `min_std`; ones before the first update."""
        std = (self.m2 / self.count.clamp_min(1)).sqrt().clamp_min(self.min_std)
        return torch.where(self.count > 0, std, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, *shape) -> (*B, *shape), in x's dtype."""
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)
