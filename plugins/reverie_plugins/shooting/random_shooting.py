"""Random shooting: the simplest planner (Nagabandi et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import best_of, uniform_plans

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
        scoring = config.scoring(imagination.has_value)
        scores = imagination.score(latent, plans, sampling=sampling, **scoring)  # (B, N)
        best = best_of(plans, scores, 1).plans[:, 0]  # (B, H, A)
        imagination.chose(best)
        return best[:, 0], carry
