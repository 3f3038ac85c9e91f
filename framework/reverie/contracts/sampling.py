"""The one way to draw random numbers. No component touches torch's global generator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor


class Distribution(Protocol):
    """What heads, decoders and actors return. Every torch.distributions.Distribution that has a mode is one."""

    @property
    def batch_shape(self) -> torch.Size: ...
    @property
    def event_shape(self) -> torch.Size: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def mode(self) -> Tensor: ...
    def log_prob(self, value: Tensor) -> Tensor: ...
    def entropy(self) -> Tensor: ...


@dataclass(frozen=True)
class Sampling:
    """How to draw: whether to draw at all, at which temperature, and from which generators.

    Args:
        mode: `"sample"`, or `"mode"` for the most likely value without any randomness.
        temperature: above 1 flattens, below 1 sharpens what is drawn.
        generators: one per environment; rows are split evenly among them, in order (rows of one environment are
            neighbours, as `repeat_interleave` leaves them). None draws from torch's default generator. They are of the
            CPU wherever the numbers go, so that a seed means the same noise on every device.
        shard: (rank, world size). Each rank draws the rows of all ranks from the same generator and keeps its own,
            so that noise belongs to the row and not to the process.
        shared: so many neighbouring rows get the same noise: common random numbers, for candidates that are compared
            (`start.repeat(n)` with `shared=n` plays all n against the same luck).
    """

    mode: Literal["sample", "mode"] = "sample"
    temperature: float = 1.0
    generators: Sequence[torch.Generator] | None = None
    shard: tuple[int, int] = (0, 1)
    shared: int = 1

    def with_mode(self, mode: Literal["sample", "mode"]) -> Self:
        return replace(self, mode=mode)

    def with_temperature(self, temperature: float) -> Self:
        return replace(self, temperature=temperature)

    def randn(self, shape: Sequence[int], *, device: torch.device | None = None, dtype: Any = None) -> Tensor:
        """Standard normal noise; `shape[0]` is the row dimension."""
        return self._noise(torch.randn, shape, device, dtype)

    def rand(self, shape: Sequence[int], *, device: torch.device | None = None, dtype: Any = None) -> Tensor:
        """Uniform noise in [0, 1); `shape[0]` is the row dimension."""
        return self._noise(torch.rand, shape, device, dtype)

    def draw(self, distribution: Any) -> Tensor:
        """A draw, reparameterised where the distribution allows it (straight-through for one-hot vectors), or the
        mode. A distribution of a plugin's own offers `draw(sampling)`; torch's common ones are known here.

        Raises:
            TypeError: for a distribution that is neither.
        """
        if self.mode == "mode":
            return _mode(distribution)
        own = getattr(distribution, "draw", None)
        if own is not None:
            drawn: Tensor = own(self)
            return drawn
        from reverie.nn.draws import draw_from

        return draw_from(distribution, self)

    def _noise(self, function: Any, shape: Sequence[int], device: torch.device | None, dtype: Any) -> Tensor:
        generators, (rank, world) = self.generators, self.shard
        rows = shape[0]
        if self.shared > 1:
            if rows % self.shared:
                raise ValueError(f"{rows} rows cannot share their noise by {self.shared}")
            own_rows = replace(self, shared=1)._noise(function, (rows // self.shared, *shape[1:]), device, dtype)
            return own_rows.repeat_interleave(self.shared, 0)
        if generators is None:
            noise: Tensor = function(*shape, device=device, dtype=dtype)
            return noise
        if len(generators) == 1:
            noise = function(rows * world, *shape[1:], generator=generators[0], dtype=dtype)
            own = noise if world == 1 else noise[rank * rows : (rank + 1) * rows]
            return own.to(device, non_blocking=True)  # a GPU need not have finished what it does before
        if rows % len(generators):
            raise ValueError(f"{rows} rows cannot be split evenly among {len(generators)} generators")
        each = rows // len(generators)
        parts = [function(each, *shape[1:], generator=generator, dtype=dtype) for generator in generators]
        return torch.cat(parts).to(device, non_blocking=True)


def _mode(distribution: Any) -> Tensor:
    value: Tensor = distribution.mode
    return value
