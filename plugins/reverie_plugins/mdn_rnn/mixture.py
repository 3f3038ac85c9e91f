"""A mixture of normals for each number of a vector, the numbers independent of each other."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from reverie.contracts import Sampling

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class NormalMixture:
    """Z independent mixtures of K normals (Bishop 1994; World Models, section 2.2 and appendix A.2; note 26).

    Args:
        logits: (*B, Z, K), of the weights; not normalised.
        means: (*B, Z, K).
        log_std: (*B, Z, K).
    """

    def __init__(self, logits: Tensor, means: Tensor, log_std: Tensor) -> None:
        self.log_weights = torch.log_softmax(logits, -1)  # (*B, Z, K)
        self.means = means
        self.log_std = log_std

    @property
    def batch_shape(self) -> torch.Size:
        return self.means.shape[:-2]

    @property
    def event_shape(self) -> torch.Size:
        return self.means.shape[-2:-1]

    @cached_property
    def mean(self) -> Tensor:
        """(*B, Z)."""
        return (self.log_weights.exp() * self.means).sum(-1)

    @cached_property
    def std(self) -> Tensor:
        """(*B, Z), of the whole mixture."""
        spread = (2 * self.log_std).exp() + (self.means - self.mean.unsqueeze(-1)).square()  # (*B, Z, K)
        return (self.log_weights.exp() * spread).sum(-1).sqrt()

    @property
    def mode(self) -> Tensor:
        """(*B, Z): of the components' means the one where the density is highest."""
        density = self._log_density(self.means)  # (*B, Z, K)
        return _chosen(self.means, density.argmax(-1, keepdim=True))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, Z) -> (*B): the logarithm of the sum over components, summed over numbers."""
        return self._log_density(value.unsqueeze(-1)).sum((-2, -1))

    def entropy(self) -> Tensor:
        """(*B): an upper bound, that of normals of the same mean and deviation. A mixture's own has no closed form."""
        return (self.std.log() + 0.5 + _HALF_LOG_TAU).sum(-1)

    def cooled(self, temperature: float) -> NormalMixture:
        """At another temperature (World Models, section 4.2): log-weights are divided by it and renormalised, standard
        deviations multiplied by its square root. Above 1 there are more surprises, towards 0 there are none."""
        if temperature == 1.0:
            return self
        log_std = self.log_std + 0.5 * math.log(temperature)
        return NormalMixture(self.log_weights / temperature, self.means, log_std)

    def draw(self, sampling: Sampling) -> Tensor:
        """(*B, Z) at the sampling's temperature. The gradient is that of the chosen component's mean and deviation."""
        cooled, shape = self.cooled(sampling.temperature), self.means.shape[:-1]
        uniform = sampling.rand(shape, device=self.means.device).to(self.means.dtype)  # (*B, Z)
        noise = sampling.randn(shape, device=self.means.device).to(self.means.dtype)  # (*B, Z)
        reached = cooled.log_weights.detach().exp().cumsum(-1)[..., :-1]  # (*B, Z, K - 1); the last takes the rest
        index = (reached <= uniform.unsqueeze(-1)).sum(-1, keepdim=True)  # (*B, Z, 1)
        return _chosen(self.means, index) + _chosen(cooled.log_std, index).exp() * noise

    def _log_density(self, points: Tensor) -> Tensor:
        """(*B, Z, P) points -> (*B, Z, P)."""
        log_std = self.log_std.unsqueeze(-2)  # (*B, Z, 1, K)
        scaled = (points.unsqueeze(-1) - self.means.unsqueeze(-2)) * (-log_std).exp()  # (*B, Z, P, K)
        each = self.log_weights.unsqueeze(-2) - 0.5 * scaled.square() - log_std - _HALF_LOG_TAU
        return torch.logsumexp(each, -1)


def _chosen(values: Tensor, index: Tensor) -> Tensor:
    """(*B, Z, K) and (*B, Z, 1) -> (*B, Z)."""
    return values.gather(-1, index).squeeze(-1)
