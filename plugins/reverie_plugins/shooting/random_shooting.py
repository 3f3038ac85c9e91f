"""Random shooting: the simplest planner (Nagabandi et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import uniform_plans

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import RandomShootingConfig


class RandomShooting(SearchPlanner):
    """Scores uniformly random plans and executes the first action of the best one. No memory."""

    def __init__(self, config: RandomShootingConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        config = self.config
        (B,) = latent.batch_shape
        plans = uniform_plans(self.action, (B, config.candidates, config.horizon), latent.features, sampling)
        scores = imagination.score(
            latent,
            plans,
            sampling=sampling,
            particles=config.particles,
            discount=config.discount,
            bootstrap=config.bootstrap,
            risk=config.risk,
        )  # (B, N)
        best = scores.argmax(1)  # (B,)
        return plans[torch.arange(B, device=best.device), best, 0], carry
