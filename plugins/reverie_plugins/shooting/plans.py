"""Distributions over plans: sequences of H actions, independent from step to step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Sampling
from reverie.nn import one_hot_from

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import CEMConfig


def uniform_plans(action: ActionSpec, shape: tuple[int, int, int], like: Tensor, sampling: Sampling) -> Tensor:
    """(B, N, H) -> (B, N, H, A) plans, uniform over the whole action space."""
    if action.is_discrete:
        noise = sampling.rand(shape, device=like.device).to(like.dtype)  # (B, N, H)
        return one_hot_from(like.new_full((*shape, action.size), 1 / action.size), noise)
    noise = sampling.rand((*shape, action.size), device=like.device).to(like.dtype)
    return 2 * noise - 1  # (B, N, H, A)


class Plans(ABC):
    """What the cross-entropy method fits to its elites, as one or two tensors."""

    def __init__(self, config: CEMConfig, action: ActionSpec) -> None:
        self.config = config
        self.action = action

    @abstractmethod
    def fresh(self, batch_size: int) -> Tensor:
        """(B, H, A): the centre before anything is known."""

    @abstractmethod
    def spread(self, centre: Tensor) -> Tensor:
        """The spread that belongs to a centre (B, H, A) before the first round."""

    @abstractmethod
    def sample(self, centre: Tensor, spread: Tensor, sampling: Sampling) -> Tensor:
        """(B, N, H, A) plans within bounds."""

    @abstractmethod
    def refit(self, elites: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Elites (B, K, H, A) with shares (B, K, 1, 1) that sum to 1 -> centre and spread, each (B, H, A)."""

    @abstractmethod
    def action_of(self, centre: Tensor) -> Tensor:
        """(B, H, A) -> (B, A): the first action of the centre."""

    def shifted(self, centre: Tensor) -> Tensor:
        """(B, H, A): the centre one step later, its last step unknown again."""
        return torch.cat([centre[:, 1:], self.fresh(len(centre))[:, -1:].to(centre)], 1)


class GaussianPlans(Plans):
    """A mean and a standard deviation per step and entry, clipped to [-1, 1]."""

    def fresh(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.config.horizon, self.action.size)

    def spread(self, centre: Tensor) -> Tensor:
        return torch.full_like(centre, self.config.std)

    def sample(self, centre: Tensor, spread: Tensor, sampling: Sampling) -> Tensor:
        B, H, A = centre.shape
        noise = sampling.randn((B, self.config.candidates, H, A), device=centre.device).to(centre.dtype)
        return (centre[:, None] + spread[:, None] * noise).clamp(-1, 1)  # (B, N, H, A)

    def refit(self, elites: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        mean = (share * elites).sum(1)  # (B, H, A)
        variance = (share * (elites - mean[:, None]).square()).sum(1)
        return mean, variance.sqrt().clamp_min(self.config.min_std)

    def action_of(self, centre: Tensor) -> Tensor:
        return centre[:, 0].clamp(-1, 1)


class CategoricalPlans(Plans):
    """Probabilities per step, never below a share of the uniform distribution. The spread is not used."""

    def fresh(self, batch_size: int) -> Tensor:
        return torch.full((batch_size, self.config.horizon, self.action.size), 1 / self.action.size)

    def spread(self, centre: Tensor) -> Tensor:
        return centre

    def sample(self, centre: Tensor, spread: Tensor, sampling: Sampling) -> Tensor:
        B, H, A = centre.shape
        mixed = centre * (1 - self.config.min_prob) + self.config.min_prob / A  # (B, H, A)
        noise = sampling.rand((B, self.config.candidates, H), device=centre.device).to(centre.dtype)
        return one_hot_from(mixed[:, None].expand(-1, self.config.candidates, -1, -1), noise)  # (B, N, H, A)

    def refit(self, elites: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        probs = (share * elites).sum(1)  # (B, H, A)
        return probs, probs

    def action_of(self, centre: Tensor) -> Tensor:
        best = centre[:, 0].argmax(-1)
        return torch.nn.functional.one_hot(best, self.action.size).to(centre.dtype)  # (B, A)
