"""One process or several: who this one is, and what all of them agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class World:
    """The processes that train together; alone by default, and then everything here costs nothing.

    Args:
        rank: of this process.
        size: how many there are.
        device: where collective operations run.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)  # (len(values),)
        distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        return flag if self.size == 1 else self.sum([float(flag)])[0] > 0

    def all(self, flag: bool) -> bool:
        """Whether every process says yes."""
        return flag if self.size == 1 else not self.any(not flag)

    def max(self, value: float) -> float:
        """The largest over all processes."""
        if self.size == 1:
            return value
        largest = torch.tensor([value], dtype=torch.float64, device=self.device)  # (1,)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
        return float(largest.item())

    def gather(self, value: Tensor) -> Tensor:
        """(N, ...) -> (size * N, ...) in rank order, without gradients, where the value lay."""
        value = value.detach()
        if self.size == 1:
            return value
        rows = (value.reshape(1) if value.dim() == 0 else value.contiguous()).to(self.device)
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        distributed.all_gather(parts, rows)
        return torch.cat(parts).to(value.device)

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


ALONE = World()
"""The world of a run with one process."""
