"""The controller of World Models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reverie.contracts import ActionSpec, Actor, Carry, Distribution, Imagination, Latent, Sampling
from reverie.nn import OneHot, TanhNormal
from reverie_plugins.evolution.config import LinearActorConfig


class LinearActor(Actor):
    """a = W [z, h] + b (World Models, section 2.3): the largest entry where actions are discrete, else its tanh.

    It acts greedily; only learners that ask for its `policy` see a distribution. Weights begin at 0: every discrete
    action is equally likely, continuous ones are 0.
    """

    def __init__(self, config: LinearActorConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        self.config = config
        self.discrete = action.is_discrete
        self.linear = nn.Linear(feature_size, action.size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def policy(self, latent: Latent) -> Distribution:
        outputs = latent.project(self.linear)  # (*B, A)
        if self.discrete:
            return OneHot(outputs)
        return TanhNormal(outputs, torch.full_like(outputs, self.config.std))

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        """The most likely action, always: what evolution judges. Exploration is the recipe's noise and epsilon."""
        return self.policy(latent).mode, carry
