"""The cross-entropy method (Rubinstein 1997) as PlaNet and PETS use it, over latent states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import CategoricalPlans, GaussianPlans, Plans

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import CEMConfig


class CEM(SearchPlanner):
    """Samples plans, keeps the elites, refits, repeats; executes the first action of the final centre.

    Continuous actions have Gaussian plans, clipped inside the search (PlaNet, algorithm 2); discrete ones have
    categorical plans. Memory: the last centre, with `warm_start`; none otherwise.
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
        for _ in range(self.config.iterations):
            centre, spread = self._round(latent, centre, spread, imagination, sampling)
        memory = {"centre": self.plans.shifted(centre)} if self.config.warm_start else {}
        return self.plans.action_of(centre), memory

    def _round(
        self, latent: Latent, centre: Tensor, spread: Tensor, imagination: Imagination, sampling: Sampling
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        plans = self.plans.sample(centre, spread, sampling)  # (B, N, H, A)
        scores = imagination.score(
            latent,
            plans,
            sampling=sampling,
            particles=config.particles,
            discount=config.discount,
            bootstrap=config.bootstrap,
            risk=config.risk,
        )  # (B, N)
        best, index = scores.topk(config.elites, dim=1)  # (B, K)
        elites = plans[torch.arange(len(index), device=index.device)[:, None], index]  # (B, K, H, A)
        # Plans that made the model blow up score -inf: they are no elites, even where there are too few others.
        usable = torch.isfinite(best).to(plans.dtype)  # (B, K)
        total = usable.sum(1, keepdim=True)  # (B, 1)
        share = (usable / total.clamp_min(1))[..., None, None]  # (B, K, 1, 1)
        fitted = self.plans.refit(elites, share)
        known = (total > 0)[..., None]  # (B, 1, 1)
        keep = config.momentum
        return (
            torch.where(known, keep * centre + (1 - keep) * fitted[0], centre),
            torch.where(known, keep * spread + (1 - keep) * fitted[1], spread),
        )
