"""The policy prior (TD-MPC2, section 3.1)."""

from __future__ import annotations

import torch

from reverie.contracts import ActionSpec, Actor, Latent
from reverie.nn import LatentMLP, TanhNormal
from reverie_plugins.tdmpc2.config import PolicyPriorConfig


class PolicyPrior(Actor):
    """tanh of a normal whose logarithm of the deviation is bounded smoothly on both sides. Continuous actions only."""

    def __init__(self, config: PolicyPriorConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        if action.is_discrete:
            raise ValueError("actor `policy_prior` is for continuous actions: a squashed normal is no one-hot vector")
        self.config = config
        self.net = LatentMLP(
            feature_size,
            config.units,
            config.layers,
            2 * action.size,
            activation=config.activation,
            output_scale=config.output_scale,
        )

    def policy(self, latent: Latent) -> TanhNormal:
        mean, raw = self.net.forward(latent).chunk(2, -1)  # each (*B, A)
        low, high = self.config.min_log_std, self.config.max_log_std
        log_std = low + 0.5 * (high - low) * (torch.tanh(raw) + 1)  # (*B, A)
        return TanhNormal(mean, log_std.exp())
