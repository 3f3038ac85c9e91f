"""The implicit latent state, and how far each step of a chunk lies from the observation that it was predicted from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.contracts import Latent


@dataclass(frozen=True)
class ImplicitLatent(Latent):
    """z (*B, F): groups of entries that sum to 1."""

    z: Tensor

    @property
    def features(self) -> Tensor:
        """(*B, F)."""
        return self.z


def rollout_weights(is_first: Tensor, rho: float, dtype: torch.dtype) -> Tensor:
    """(B, T): rho^d for a state predicted over d steps; 1 where the rollout begins, at the chunk's first step and
    wherever an episode begins.

    Args:
        is_first: (B, T) bool.
    """
    steps = torch.arange(is_first.shape[1], device=is_first.device)  # (T,)
    began = torch.where(is_first, steps, 0).cummax(1).values  # (B, T): the step at which its rollout began
    return torch.pow(rho, (steps - began).to(dtype))


def transition_weights(is_first: Tensor, rho: float, dtype: torch.dtype) -> Tensor:
    """(B, T - 1): the weight of what is predicted from each state but the last; 0 where an episode ends in between.

    Args:
        is_first: (B, T) bool.
    """
    return rollout_weights(is_first, rho, dtype)[:, :-1] * (~is_first[:, 1:]).to(dtype)
