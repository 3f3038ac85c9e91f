"""Distributions of bounded actions."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts.sampling import Sampling
from reverie.nn.distributions.normal import Normal

_EDGE = 1e-6
_NODES = 16
_FARTHEST = 1000.0
"""Deviations behind which float32 cannot tell one tail from another."""


@lru_cache(maxsize=1)
def _gauss_hermite() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights for the mean of a function of a standard normal variable."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return tuple(nodes.tolist()), tuple((weights / weights.sum()).tolist())


class TanhNormal:
    """tanh of a normal, entry by entry: actions that never leave (-1, 1) (DreamerV1, SAC).

    Mean and entropy have no closed form and are computed by Gauss-Hermite quadrature with 16 nodes: no noise, and
    differentiable. `mode` is the tanh of the normal's mean, as is usual, although the density may peak elsewhere.

    Args:
        mean, std: (*B, A) of the normal before the tanh.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.base = Normal(mean, std, 1)

    @property
    def batch_shape(self) -> torch.Size:
        return self.base.batch_shape

    @property
    def event_shape(self) -> torch.Size:
        return self.base.event_shape

    @property
    def mode(self) -> Tensor:
        return torch.tanh(self.base.mean)

    @property
    def mean(self) -> Tensor:
        points, weights = self._points()  # (*B, A, 16), (16,)
        return (torch.tanh(points) * weights).sum(-1)  # (*B, A)

    def draw(self, sampling: Sampling) -> Tensor:
        """A reparameterised draw (*B, A)."""
        return torch.tanh(self.base.draw(sampling))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, A) -> (*B). Entries nearer to a bound than 1e-6 count as lying there, with the probability of all that
        comes so near: in float32 a draw does not say how far beyond it was.

        Under a density in their place the score of draws would not average to zero. Once a mean has left (-7.3, 7.3)
        every draw is such an entry, and REINFORCE would drive that mean further out with each disappointing one.
        """
        at_bound = value.abs() >= 1 - _EDGE  # (*B, A)
        inner = torch.atanh(value.clamp(-1 + _EDGE, 1 - _EDGE))  # (*B, A)
        density = Normal(self.base.mean, self.base.std, 0).log_prob(inner) - _log_slope(inner)  # (*B, A)
        beyond = (torch.sign(value) * self.base.mean - inner.abs()) / self.base.std  # (*B, A)
        mass = torch.special.log_ndtr(torch.where(at_bound, beyond, 0.0).clamp_min(-_FARTHEST))  # (*B, A)
        return torch.where(at_bound, mass, density).sum(-1)

    def entropy(self) -> Tensor:
        """(*B): that of the normal plus the mean logarithm of tanh's slope."""
        points, weights = self._points()  # (*B, A, 16), (16,)
        return self.base.entropy() + (_log_slope(points) * weights).sum((-1, -2))

    def detach(self) -> TanhNormal:
        """The same distribution, cut from the graph."""
        return TanhNormal(self.base.mean.detach(), self.base.std.detach())

    def _points(self) -> tuple[Tensor, Tensor]:
        nodes, weights = (self.base.mean.new_tensor(values) for values in _gauss_hermite())
        return self.base.mean.unsqueeze(-1) + self.base.std.unsqueeze(-1) * nodes, weights


def _log_slope(x: Tensor) -> Tensor:
    """log(1 - tanh(x)^2), without loss of precision far from 0."""
    return 2 * (math.log(2) - x - F.softplus(-2 * x))
