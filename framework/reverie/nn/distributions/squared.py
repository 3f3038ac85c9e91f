"""Squared errors that look like distributions, for decoders and heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reverie.contracts.sampling import Sampling
from reverie.nn.distributions.common import batch_of, event_of, sum_event
from reverie.nn.symlog import symexp, symlog


class SquaredError:
    """log_prob(x) = -scale * sum((x - mean)^2), summed over the event (note 7).

    This is a normal of variance 1 / (2 scale) without its constant, sum(log(pi / scale)) / 2: losses of images would
    otherwise be dominated by a number that nobody can change. `draw` uses that variance.

    Args:
        mean: (*B, *event).
        event_dims: dimensions of an event; 0 for numbers.
    """

    def __init__(self, mean: Tensor, event_dims: int = 1, scale: float = 1.0) -> None:
        self.mean = mean
        self.event_dims = event_dims
        self.scale = scale

    @property
    def batch_shape(self) -> torch.Size:
        return batch_of(self.mean, self.event_dims)

    @property
    def event_shape(self) -> torch.Size:
        return event_of(self.mean, self.event_dims)

    @property
    def mode(self) -> Tensor:
        return self.mean

    def draw(self, sampling: Sampling) -> Tensor:
        """(*B, *event), reparameterised."""
        noise = sampling.randn(self.mean.shape, device=self.mean.device)
        return self.mean + noise * math.sqrt(sampling.temperature / (2 * self.scale))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, *event) -> (*B)."""
        return -self.scale * sum_event((value - self.mean).square(), self.event_dims)

    def entropy(self) -> Tensor:
        """(*B), of the normal described above."""
        entries = math.prod(self.event_shape)
        return self.mean.new_full(self.batch_shape, 0.5 * entries * math.log(math.pi * math.e / self.scale))


class SymlogSquaredError:
    """log_prob(x) = -scale * sum((symlog(x) - prediction)^2): for numbers of unknown size (DreamerV3, equation 1).

    Args:
        prediction: (*B, *event), in symlog space; `mean` and `mode` are its symexp.
    """

    def __init__(self, prediction: Tensor, event_dims: int = 1, scale: float = 1.0) -> None:
        self.inner = SquaredError(prediction, event_dims, scale)

    @property
    def batch_shape(self) -> torch.Size:
        return self.inner.batch_shape

    @property
    def event_shape(self) -> torch.Size:
        return self.inner.event_shape

    @property
    def mean(self) -> Tensor:
        return symexp(self.inner.mean)

    @property
    def mode(self) -> Tensor:
        return symexp(self.inner.mean)

    def draw(self, sampling: Sampling) -> Tensor:
        """(*B, *event), reparameterised."""
        return symexp(self.inner.draw(sampling))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, *event) -> (*B)."""
        return self.inner.log_prob(symlog(value))

    def entropy(self) -> Tensor:
        """(*B), in symlog space."""
        return self.inner.entropy()
