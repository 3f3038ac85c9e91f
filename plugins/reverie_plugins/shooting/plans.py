"""Distributions over plans: sequences of H actions, independent from step to step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Sampling
from reverie.nn import one_hot_from

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import CEMConfig

CUT = 2.0
"""Deviations at which a truncated normal ends."""


def uniform_plans(action: ActionSpec, shape: tuple[int, int, int], like: Tensor, sampling: Sampling) -> Tensor:
    """(B, N, H) -> (B, N, H, A) plans, uniform over the whole action space."""
    if action.is_discrete:
        noise = sampling.rand(shape, device=like.device).to(like.dtype)  # (B, N, H)
        return one_hot_from(like.new_full((*shape, action.size), 1 / action.size), noise)
    noise = sampling.rand((*shape, action.size), device=like.device).to(like.dtype)
    return 2 * noise - 1  # (B, N, H, A)


@dataclass(frozen=True)
class Elites:
    """The best plans of a round, best first.

    Args:
        plans: (B, K, H, A).
        scores: (B, K); -inf where the model blew up: no elite, even where there are too few others.
    """

    plans: Tensor
    scores: Tensor

    @property
    def usable(self) -> Tensor:
        """(B, K) bool."""
        return torch.isfinite(self.scores)

    @property
    def known(self) -> Tensor:
        """(B, 1, 1) bool: whether any plan of an environment could be scored."""
        return self.usable.any(1)[:, None, None]

    def moments(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and (population) variance, each (B, H, A), under weights (B, K) that sum to 1 or are all 0."""
        share = weight[..., None, None]  # (B, K, 1, 1)
        mean = (share * self.plans).sum(1)  # (B, H, A)
        return mean, (share * (self.plans - mean[:, None]).square()).sum(1)

    @property
    def even(self) -> Tensor:
        """(B, K): the same weight for every usable elite; zeros where there is none."""
        usable = self.usable.to(self.plans.dtype)
        return usable / usable.sum(1, keepdim=True).clamp_min(1)


def best_of(plans: Tensor, scores: Tensor, count: int) -> Elites:
    """The `count` best of (B, N, H, A) plans with scores (B, N)."""
    best, index = scores.topk(count, dim=1)  # (B, K)
    return Elites(plans[torch.arange(len(index), device=index.device)[:, None], index], best)


def shifted(plans: Tensor, last: Tensor) -> Tensor:
    """(*B, H, A): plans one step later, which end in `last` (*B, 1, A)."""
    return torch.cat([plans[..., 1:, :], last], -2)


def truncated_normal(shape: tuple[int, ...], sampling: Sampling, like: Tensor) -> Tensor:
    """Standard normal noise that ends at `CUT` deviations, by the inverse of the distribution function."""
    edge = math.erf(CUT / math.sqrt(2))
    uniform = sampling.rand(shape, device=like.device).to(like.dtype)
    return torch.erfinv((2 * uniform - 1) * edge) * math.sqrt(2)


class Plans(ABC):
    """What the cross-entropy method fits to its elites: a centre and a spread, each (B, H, A)."""

    def __init__(self, config: CEMConfig, action: ActionSpec) -> None:
        self.config = config
        self.action = action

    @abstractmethod
    def fresh(self, batch_size: int) -> Tensor:
        """(B, H, A): the centre before anything is known."""

    @abstractmethod
    def spread(self, centre: Tensor) -> Tensor:
        """The spread that belongs to a centre before the first round."""

    @abstractmethod
    def sample(self, centre: Tensor, spread: Tensor, count: int, sampling: Sampling) -> Tensor:
        """(B, count, H, A) plans within bounds."""

    @abstractmethod
    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        """Centre and spread of the next round."""

    @abstractmethod
    def decided(self, centre: Tensor) -> Tensor:
        """(B, H, A): the plan that a centre stands for, within bounds."""

    def shifted(self, centre: Tensor) -> Tensor:
        """(B, H, A): the centre one step later, its last step unknown again."""
        return shifted(centre, self.fresh(len(centre))[:, -1:].to(centre))


class GaussianPlans(Plans):
    """A mean and a standard deviation per step and entry, within [-1, 1] by clipping or by truncation."""

    def fresh(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.config.horizon, self.action.size)

    def spread(self, centre: Tensor) -> Tensor:
        return torch.full_like(centre, self.config.std)

    def sample(self, centre: Tensor, spread: Tensor, count: int, sampling: Sampling) -> Tensor:
        B, H, A = centre.shape
        shape = (B, count, H, A)
        if self.config.noise == "truncated":
            noise = truncated_normal(shape, sampling, centre)
            spread = torch.minimum(spread, (1 - centre.abs()) / CUT)
        else:
            noise = sampling.randn(shape, device=centre.device).to(centre.dtype)
        return (centre[:, None] + spread[:, None] * noise).clamp(-1, 1)  # (B, count, H, A)

    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        mean, variance = elites.moments(elites.even)
        keep = self.config.momentum
        mean = keep * centre + (1 - keep) * mean
        deviation = (keep * spread.square() + (1 - keep) * variance).sqrt().clamp_min(self.config.min_std)
        return mean, deviation

    def decided(self, centre: Tensor) -> Tensor:
        return centre.clamp(-1, 1)


class CategoricalPlans(Plans):
    """Probabilities per step, never below a share of the uniform distribution. The spread is not used."""

    def fresh(self, batch_size: int) -> Tensor:
        return torch.full((batch_size, self.config.horizon, self.action.size), 1 / self.action.size)

    def spread(self, centre: Tensor) -> Tensor:
        return centre

    def sample(self, centre: Tensor, spread: Tensor, count: int, sampling: Sampling) -> Tensor:
        B, H, A = centre.shape
        mixed = centre * (1 - self.config.min_prob) + self.config.min_prob / A  # (B, H, A)
        noise = sampling.rand((B, count, H), device=centre.device).to(centre.dtype)
        return one_hot_from(mixed[:, None].expand(-1, count, -1, -1), noise)  # (B, count, H, A)

    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        keep = self.config.momentum
        probs = keep * centre + (1 - keep) * elites.moments(elites.even)[0]  # (B, H, A)
        return probs, probs

    def decided(self, centre: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(centre.argmax(-1), self.action.size).to(centre.dtype)
