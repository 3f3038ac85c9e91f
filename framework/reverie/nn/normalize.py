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
        min_std: entries that hardly vary are divided by this, so that a constant one stays finite when it moves.
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
        if rows.shape[0] == 1:  # what an agent sees at each step: no spread of its own
            self._absorb(1, rows[0], None)
            return
        mean = rows.mean(0)  # (*shape)
        self._absorb(rows.shape[0], mean, (rows - mean).square_().sum(0))

    def _absorb(self, number: Tensor | int, mean: Tensor, m2: Tensor | None) -> None:
        """Take in the count, the mean and the sum of squared deviations (none: 0) of further rows."""
        share = number / (self.count + number)  # ()
        delta = mean - self.mean  # (*shape)
        self.m2.addcmul_(delta.square(), self.count * share)
        if m2 is not None:
            self.m2 += m2
        self.mean.addcmul_(delta, share)
        self.count += number

    def moments(self) -> Tensor:
        """(1 + 2 * size,) float64: all that was seen, as one tensor to send to other processes."""
        return torch.cat((self.count.reshape(1), self.mean.flatten(), self.m2.flatten()))

    @torch.no_grad()
    def merge(self, common: Tensor, ranks: Tensor) -> None:
        """Become what one process would be that saw the rows of all ranks, in rank order.

        Args:
            common: (1 + 2 * size,), the `moments` of all ranks before they saw rows of their own.
            ranks: (R, 1 + 2 * size), the `moments` of each rank afterwards.
        """
        self.count.copy_(common[0])
        for target, value in zip((self.mean, self.m2), common[1:].chunk(2), strict=True):
            target.copy_(value.view_as(target))
        for rank in ranks:
            number = rank[0] - common[0]  # ()
            if number > 0:
                mean, m2 = (part.view_as(self.mean) for part in _since(common, rank))
                self._absorb(number, mean, m2)

    @property
    def std(self) -> Tensor:
        """(*shape) float64, at least `min_std`; ones before the first update."""
        std = (self.m2 / self.count.clamp_min(1)).sqrt().clamp_min(self.min_std)
        return torch.where(self.count > 0, std, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, *shape) -> (*B, *shape), in x's dtype."""
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)


def _since(common: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the sum of squared deviations, flat, of the rows by which `later` has seen more than `common`."""
    before, number = common[0], later[0] - common[0]  # ()
    (mean_before, m2_before), (mean, m2) = common[1:].chunk(2), later[1:].chunk(2)
    mean_new = mean + (mean - mean_before) * (before / number)  # (size,)
    between = (mean_new - mean_before).square() * (before * number / later[0])  # (size,)
    return mean_new, (m2 - m2_before - between).clamp_min(0)
