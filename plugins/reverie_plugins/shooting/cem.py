"""The cross-entropy method (Rubinstein 1997) as PlaNet and PETS use it, over latent states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import CategoricalPlans, GaussianPlans, Plans, best_of

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import CEMConfig


class CEM(SearchPlanner):
    """Samples plans, keeps the elites, refits, repeats; executes the first action of the final centre.

    Continuous actions have Gaussian plans within the bounds (PlaNet, algorithm 2; PETS, section 5); discrete ones have
    categorical plans. No noise is added to what was found: exploring is the policy's affair. Memory: the last centre,
    one step later, with `warm_start`; none otherwise.
    """

    def __init__(self, config: CEMConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config
        self.plans: Plans = (CategoricalPlans if action.is_discrete else GaussianPlans)(config, action)

    def initial(self, batch_size: int) -> Carry:
        return {"centre": self.plans.fresh(batch_size)} if self.config.warm_start else {}

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        (B,) = latent.batch_shape
        like = latent.features
        centre = carry["centre"].to(like) if "centre" in carry else self.plans.fresh(B).to(like)  # (B, H, A)
        spread = self.plans.spread(centre)
        scoring = self.config.scoring(imagination.has_value)
        for _ in range(self.config.iterations):
            plans = self.plans.sample(centre, spread, sampling)  # (B, N, H, A)
            scores = imagination.score(latent, plans, sampling=sampling, **scoring)  # (B, N)
            elites = best_of(plans, scores, self.config.elites)
            fitted = self.plans.refit(centre, spread, elites)
            centre, spread = (
                torch.where(elites.known, new, old) for new, old in zip(fitted, (centre, spread), strict=True)
            )
        decided = self.plans.decided(centre)  # (B, H, A)
        imagination.chose(decided)
        return decided[:, 0], {"centre": self.plans.shifted(centre)} if self.config.warm_start else {}
