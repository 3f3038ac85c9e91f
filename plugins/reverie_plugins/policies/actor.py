"""A policy over latent states."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts import ActionSpec, Actor, Carry, Distribution, Imagination, Latent, Sampling
from reverie.nn import LatentMLP, Normal, OneHot, TanhNormal
from reverie_plugins.policies.config import MLPActorConfig


class MLPActor(Actor):
    """One network for both kinds of action.

    Discrete: a one-hot categorical with a uniform share. Continuous: a normal around tanh(output), whose draws may
    leave the bounds; learners use the log-probability of the draw itself, and only `plan` and the environment clip
    (note 17).
    """

    def __init__(self, config: MLPActorConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        self.config = config
        self.discrete = action.is_discrete
        self.net = LatentMLP(
            feature_size,
            config.units,
            config.layers,
            action.size if action.is_discrete else 2 * action.size,
            config.norm,
            config.activation,
            output_scale=config.output_scale,
        )

    def policy(self, latent: Latent) -> Distribution:
        outputs = self.net.forward(latent)  # (*B, A) or (*B, 2 * A)
        if self.discrete:
            return OneHot(outputs, self.config.unimix)
        mean, raw = outputs.chunk(2, -1)  # each (*B, A)
        std = self._std(raw)
        if self.config.distribution == "normal":
            return Normal(torch.tanh(mean), std, 1)
        scale = self.config.mean_scale
        return TanhNormal(mean if scale is None else scale * torch.tanh(mean / scale), std)

    def _std(self, raw: Tensor) -> Tensor:
        """(*B, A) outputs -> (*B, A). Bounded on both sides it starts near the wide end, else where `init_std` says."""
        low, high, first = self.config.min_std, self.config.max_std, self.config.init_std
        if first is None:
            return (high - low) * torch.sigmoid(raw + 2.0) + low
        return F.softplus(raw + math.log(math.expm1(first))) + low

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        action, carry = super().plan(latent, carry, imagination, explore=explore, sampling=sampling)
        return (action if self.discrete else action.clamp(-1.0, 1.0)), carry
