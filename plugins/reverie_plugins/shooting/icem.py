"""iCEM, the improved cross-entropy method (Pinneri et al. 2020): more out of fewer candidates."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.colour import colouring
from reverie_plugins.shooting.plans import best_of, shifted

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import ICEMConfig


class ICEM(SearchPlanner):
    """CEM with coloured noise, elites that are kept, fewer candidates per round, and the best plan executed.

    Algorithm 1 of the paper. Besides new candidates, a round sees the kept elites of the round before (the first one:
    those of the last step, one step later, with a new last action), and the last round also sees the mean. Memory: the
    mean and the kept elites, both one step later, and whether there are any yet.
    """

    def __init__(self, config: ICEMConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config
        self.kept = ceil(config.kept * config.elites)
        self.colouring = colouring(config.horizon, config.colour)  # (H, H)

    def initial(self, batch_size: int) -> Carry:
        H, A = self.config.horizon, self.action.size
        return {
            "centre": torch.zeros(batch_size, H, A),
            "elites": torch.zeros(batch_size, self.kept, H, A),
            "begun": torch.zeros(batch_size, dtype=torch.bool),
        }

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        config, like = self.config, latent.features
        scoring = config.scoring(imagination.has_value)
        mean = carry["centre"].to(like)  # (B, H, A)
        std = torch.full_like(mean, config.std)
        kept = self._recalled(carry, mean, std, sampling)  # (B, kept, H, A)
        for round_ in range(config.iterations):
            plans = torch.cat([self._sample(mean, std, self._candidates(round_), sampling), kept], 1)
            if round_ == config.iterations - 1:
                plans = torch.cat([plans, mean.clamp(-1, 1)[:, None]], 1)  # (B, N, H, A)
            scores = imagination.score(latent, plans, sampling=sampling, **scoring)  # (B, N)
            elites = best_of(plans, scores, config.elites)
            fitted, variance = elites.moments(elites.even)
            keep = config.momentum
            deviation = (keep * std + (1 - keep) * variance.sqrt()).clamp_min(config.min_std)
            mean = torch.where(elites.known, keep * mean + (1 - keep) * fitted, mean)
            std = torch.where(elites.known, deviation, std)
            kept = elites.plans[:, : self.kept]
        best = torch.where(elites.known, elites.plans[:, 0], mean.clamp(-1, 1))  # (B, H, A)
        imagination.chose(best)
        memory = {
            "centre": shifted(mean, mean[:, -1:]),
            "elites": shifted(kept, torch.zeros_like(kept[:, :, -1:])),
            "begun": torch.ones_like(carry["begun"]),
        }
        return best[:, 0], memory

    def _candidates(self, round_: int) -> int:
        """New candidates of a round."""
        return max(int(self.config.candidates * self.config.decay**-round_), 2 * self.config.elites)

    def _sample(self, mean: Tensor, std: Tensor, count: int, sampling: Sampling) -> Tensor:
        """(B, count, H, A) plans within bounds, of coloured noise."""
        B, H, A = mean.shape
        white = sampling.randn((B, count, A, H), device=mean.device).to(mean.dtype)
        noise = (white @ self.colouring.to(mean)).transpose(2, 3)  # (B, count, H, A)
        return (mean[:, None] + std[:, None] * noise).clamp(-1, 1)

    def _recalled(self, carry: Carry, mean: Tensor, std: Tensor, sampling: Sampling) -> Tensor:
        """(B, kept, H, A): the elites of the last step with a new last action; new plans where there was no last step.

        As much noise is drawn for either, so that environments do not part in what their generators have given.
        """
        new = self._sample(mean, std, self.kept, sampling)
        old = torch.cat([carry["elites"].to(mean)[:, :, :-1], new[:, :, -1:]], 2)
        return torch.where(carry["begun"][:, None, None, None], old, new)
