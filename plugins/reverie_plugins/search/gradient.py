"""Gradient ascent on plans, through a differentiable world model (Henaff et al. 2017; Srinivas et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner

if TYPE_CHECKING:
    from reverie_plugins.search.config import GradientConfig

DECAY = (0.9, 0.95)
"""Adam's decay rates. The second is smaller than for networks: a plan climbs for tens of steps, and must soon forget
how steep the first ones were."""


class GradientAscent(SearchPlanner):
    """Several plans climb the score by Adam, kept within the bounds after every step; the best one that was ever scored
    gives the action.

    A plan whose gradient is not finite stays where it is. Memory: the plan, one step later, with `warm_start`.
    """

    differentiates: ClassVar[bool] = True

    def __init__(self, config: GradientConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        self.config = config

    def initial(self, batch_size: int) -> Carry:
        return {"plan": self._zeros(batch_size)} if self.config.warm_start else {}

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        (B,) = latent.batch_shape
        start, config = latent.detach(), self.config
        middle = (carry["plan"] if "plan" in carry else self._zeros(B)).to(latent.features)  # (B, H, A)
        scoring = config.scoring(imagination.has_value)
        plans = self._beginnings(middle, sampling)  # (B, N, H, A)
        best, top = middle, middle.new_full((B,), -torch.inf)
        first, second = torch.zeros_like(plans), torch.zeros_like(plans)
        for step in range(config.iterations + 1):
            climbing = step < config.iterations
            with torch.set_grad_enabled(climbing):
                leaf = plans.detach().requires_grad_(climbing)
                scores = imagination.score(start, leaf, sampling=sampling, **scoring)  # (B, N)
                slope = torch.autograd.grad(scores.sum(), leaf)[0] if climbing else None  # (B, N, H, A)
            best, top = _better(best, top, plans, scores.detach())
            if slope is not None:
                plans, first, second = self._climb(plans, slope, first, second, step + 1)
        imagination.chose(best)
        memory = {"plan": torch.cat([best[:, 1:], torch.zeros_like(best[:, :1])], 1)} if config.warm_start else {}
        return best[:, 0], memory

    def _zeros(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.config.horizon, self.action.size)  # (B, H, A)

    def _beginnings(self, middle: Tensor, sampling: Sampling) -> Tensor:
        """(B, N, H, A) plans within bounds; the first is the middle itself."""
        B, H, A = middle.shape
        noise = sampling.randn((B, self.config.candidates, H, A), device=middle.device).to(middle.dtype)
        noise = torch.cat([torch.zeros_like(noise[:, :1]), noise[:, 1:]], 1)
        return (middle[:, None] + self.config.std * noise).clamp(-1, 1)

    def _climb(
        self, plans: Tensor, slope: Tensor, first: Tensor, second: Tensor, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of Adam (Kingma and Ba 2015), upwards, and back into the bounds. All (B, N, H, A)."""
        finite = torch.isfinite(slope).all(-1, keepdim=True).all(-2, keepdim=True)  # (B, N, 1, 1)
        slope = torch.where(finite, slope, torch.zeros_like(slope))
        first = DECAY[0] * first + (1 - DECAY[0]) * slope
        second = DECAY[1] * second + (1 - DECAY[1]) * slope.square()
        scaled = (first / (1 - DECAY[0] ** step)) / ((second / (1 - DECAY[1] ** step)).sqrt() + 1e-8)
        moved = (plans + self.config.lr * scaled).clamp(-1, 1)
        return torch.where(finite, moved, plans), first, second


def _better(best: Tensor, top: Tensor, plans: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best plan so far (B, H, A) and its score (B,), after another round."""
    value, index = scores.max(1)  # (B,)
    ahead = value > top
    found = plans[torch.arange(len(index), device=index.device), index]  # (B, H, A)
    return torch.where(ahead[:, None, None], found, best), torch.where(ahead, value, top)
