"""The cross-entropy method (Rubinstein 1997) as PlaNet and PETS use it, over latent states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import CategoricalPlans, GaussianPlans, Plans, best_of
from reverie_plugins.shooting.proposals import proposed_plans

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import CEMConfig


class CEM(SearchPlanner):
    """Samples plans, keeps the elites, refits, repeats; executes the first action of the final centre.

    Continuous actions have Gaussian plans within the bounds (PlaNet, algorithm 2; PETS, section 5); discrete ones have
    categorical plans. With `proposals` some candidates of every round are the actor's, drawn once. No noise is added to
    what was found: exploring is the policy's affair. Memory: the last centre, one step later, with `warm_start`; none
    otherwise.

    Raises:
        ValueError: if it is asked for proposals, and there is no actor.
    """

    def __init__(self, config: CEMConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config
        if config.proposals and proposal is None:
            raise ValueError("planner `cem` is asked for proposals, and there is no actor: fill the slot `actor`")
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
        proposed = self._proposed(latent, imagination, sampling)  # (B, P, H, A)
        for _ in range(self.config.iterations):
            drawn = self.plans.sample(centre, spread, self.config.candidates - self.config.proposals, sampling)
            # Without proposals nothing is copied: drawn plans lie step by step, as they are read.
            plans = torch.cat([proposed, drawn], 1) if self.config.proposals else drawn  # (B, N, H, A)
            scores = imagination.score(latent, plans, sampling=sampling, **scoring)  # (B, N)
            elites = best_of(plans, scores, self.config.elites)
            fitted = self.plans.refit(centre, spread, elites)
            centre, spread = (
                torch.where(elites.known, new, old) for new, old in zip(fitted, (centre, spread), strict=True)
            )
        decided = self.plans.decided(centre)  # (B, H, A)
        imagination.chose(decided)
        return decided[:, 0], {"centre": self.plans.shifted(centre)} if self.config.warm_start else {}

    def _proposed(self, latent: Latent, imagination: Imagination, sampling: Sampling) -> Tensor:
        """(B, P, H, A): what the actor would do."""
        count, horizon = self.config.proposals, self.config.horizon
        if self.proposal is None or not count:
            return latent.features.new_zeros(*latent.batch_shape, 0, horizon, self.action.size)
        return proposed_plans(self.proposal, latent, count, horizon, imagination, sampling)
