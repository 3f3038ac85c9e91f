"""Model predictive path integral control (Williams et al. 2015) as in TD-MPC2 (Hansen et al. 2024, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie.nn import one_hot_from
from reverie_plugins.shooting.plans import Elites, best_of, shifted
from reverie_plugins.shooting.proposals import proposed_plans

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import MPPIConfig

PROPOSALS = 24
"""Plans that an actor proposes, unless the recipe says otherwise."""


class MPPI(SearchPlanner):
    """Gaussian plans, refitted to elites that are weighted by their scores; with proposals of an actor if there is one.

    Weights are exp(temperature * (score - best score)). Proposals are drawn once and take part in every round. An elite
    drawn by weight is executed, and while collecting its first action gets noise of the final deviation. Memory: the
    mean, one step later, with `warm_start`; none otherwise.
    """

    def __init__(self, config: MPPIConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config
        asked = min(PROPOSALS, config.candidates // 2) if config.proposals is None else config.proposals
        self.proposals = asked if proposal is not None else 0
        if config.proposals and proposal is None:
            raise ValueError("planner `mppi` is asked for proposals, and there is no actor: fill the slot `actor`")

    def initial(self, batch_size: int) -> Carry:
        return {"centre": self._zeros(batch_size)} if self.config.warm_start else {}

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        (B,) = latent.batch_shape
        like, config = latent.features, self.config
        scoring = config.scoring(imagination.has_value)
        mean = (carry["centre"] if "centre" in carry else self._zeros(B)).to(like)  # (B, H, A)
        std = torch.full_like(mean, config.max_std)
        proposed = self._proposed(latent, imagination, sampling)  # (B, P, H, A)
        for _ in range(config.iterations):
            plans = torch.cat([proposed, self._sample(mean, std, sampling)], 1)  # (B, N, H, A)
            scores = imagination.score(latent, plans, sampling=sampling, **scoring)  # (B, N)
            elites = best_of(plans, scores, config.elites)
            weight = self._weights(elites)  # (B, K)
            fitted, variance = elites.moments(weight)
            mean = torch.where(elites.known, fitted, mean)
            std = torch.where(elites.known, variance.sqrt().clamp(config.min_std, config.max_std), std)
        chosen = self._chosen(elites, weight, mean, sampling)  # (B, H, A)
        imagination.chose(chosen)
        action = chosen[:, 0]  # (B, A)
        if explore and config.noise:
            action = action + std[:, 0] * sampling.randn(action.shape, device=action.device).to(action.dtype)
        memory = {"centre": shifted(mean, torch.zeros_like(mean[:, -1:]))} if config.warm_start else {}
        return action.clamp(-1, 1), memory

    def _zeros(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.config.horizon, self.action.size)  # (B, H, A)

    def _proposed(self, latent: Latent, imagination: Imagination, sampling: Sampling) -> Tensor:
        """(B, P, H, A): what the actor would do."""
        if self.proposal is None or not self.proposals:
            return latent.features.new_zeros(*latent.batch_shape, 0, self.config.horizon, self.action.size)
        return proposed_plans(self.proposal, latent, self.proposals, self.config.horizon, imagination, sampling)

    def _sample(self, mean: Tensor, std: Tensor, sampling: Sampling) -> Tensor:
        """(B, N - P, H, A) plans within bounds."""
        B, H, A = mean.shape
        noise = sampling.randn((B, self.config.candidates - self.proposals, H, A), device=mean.device).to(mean.dtype)
        return (mean[:, None] + std[:, None] * noise).clamp(-1, 1)

    def _weights(self, elites: Elites) -> Tensor:
        """(B, K): they sum to 1, or are all 0 where nothing could be scored."""
        best = elites.scores[:, :1].clamp_min(torch.finfo(elites.scores.dtype).min)  # (B, 1), finite
        weight = torch.exp(self.config.temperature * (elites.scores - best))  # (B, K); 0 for a score of -inf
        return weight / weight.sum(1, keepdim=True).clamp_min(1e-9)

    def _chosen(self, elites: Elites, weight: Tensor, mean: Tensor, sampling: Sampling) -> Tensor:
        """(B, H, A): the plan whose first action is executed."""
        middle = mean.clamp(-1, 1)
        if self.config.execute == "mean":
            return middle
        noise = sampling.rand((len(mean),), device=mean.device).to(mean.dtype)  # (B,)
        picked = one_hot_from(weight, noise)[..., None, None]  # (B, K, 1, 1)
        return torch.where(elites.known, (picked * elites.plans).sum(1), middle)
