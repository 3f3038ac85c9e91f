"""Normals with independent entries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reverie.contracts.sampling import Sampling
from reverie.nn.distributions.common import batch_of, event_of, sum_event

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Normal:
    """A normal with diagonal covariance; the last `event_dims` dimensions are one event.

    Args:
        mean: (*B, *event).
        std: the same shape, or one that broadcasts to it.
    """

    def __init__(self, mean: Tensor, std: Tensor, event_dims: int = 1) -> None:
        self.mean = mean
        self.std = std
        self.event_dims = event_dims

    @property
    def batch_shape(self) -> torch.Size:
        return batch_of(self.mean, self.event_dims)

    @property
    def event_shape(self) -> torch.Size:
        return event_of(self.mean, self.event_dims)

    @property
    def mode(self) -> Tensor:
        return self.mean

    def from_noise(self, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """A reparameterised draw from standard normal noise of the mean's shape; variance times temperature."""
        std = self.std if temperature == 1.0 else self.std * math.sqrt(temperature)
        return self.mean + std * noise

    def draw(self, sampling: Sampling) -> Tensor:
        """A reparameterised draw (*B, *event)."""
        noise = sampling.randn(self.mean.shape, device=self.mean.device)  # (*B, *event)
        return self.from_noise(noise.to(self.mean.dtype), sampling.temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, *event) -> (*B)."""
        z = (value - self.mean) / self.std
        return -sum_event(0.5 * z.square() + self._log_std() + _HALF_LOG_TAU, self.event_dims)

    def entropy(self) -> Tensor:
        """(*B)."""
        return sum_event(self._log_std() + (0.5 + _HALF_LOG_TAU), self.event_dims)

    def detach(self) -> Normal:
        """The same distribution, cut from the graph."""
        return Normal(self.mean.detach(), self.std.detach(), self.event_dims)

    def kl(self, other: Normal) -> Tensor:
        """KL(self || other), (*B), summed over the event."""
        ratio = (self.std / other.std).square()
        shift = ((self.mean - other.mean) / other.std).square()
        return 0.5 * sum_event((ratio + shift - 1 - ratio.log()).expand(self.mean.shape), self.event_dims)

    def _log_std(self) -> Tensor:
        return self.std.log().expand(self.mean.shape)


def normal(mean: Tensor, std: Tensor | float = 1.0, event_dims: int = 1) -> Normal:
    """A `Normal`; a number as standard deviation serves every entry."""
    return Normal(mean, torch.full_like(mean, std) if isinstance(std, float | int) else std, event_dims)
