"""Exhaustive search: every plan of a small tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner

if TYPE_CHECKING:
    from reverie_plugins.search.config import ExhaustiveConfig


class Exhaustive(SearchPlanner):
    """Scores all A^H plans and executes the best one's first action: exact, as far as the world model is.

    Of equal plans the one with the smaller first action wins. No memory.

    Raises:
        ValueError: for continuous actions, or if there are more plans than the budget allows.
    """

    def __init__(self, config: ExhaustiveConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        if not action.is_discrete:
            raise ValueError("continuous actions cannot be tried one by one: use a planner that samples")
        if (problem := config.too_large(action.size)) is not None:
            raise ValueError(f"{problem[0]}; {problem[1]}")
        self.config = config
        choices = [torch.arange(action.size)] * config.horizon
        index = torch.cartesian_prod(*choices).reshape(-1, config.horizon)  # (A^H, H)
        self.plans = torch.nn.functional.one_hot(index, action.size)  # (A^H, H, A)

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        (B,) = latent.batch_shape
        plans = self.plans.to(latent.features)  # (A^H, H, A)
        every = plans.expand(B, *plans.shape)
        scores = imagination.score(latent, every, sampling=sampling, **self.config.scoring(imagination.has_value))
        best = plans[scores.argmax(1)]  # (B, H, A)
        imagination.chose(best)
        return best[:, 0], carry
