"""Acting without search."""

from __future__ import annotations

from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.policies.config import ActorPlannerConfig


class ActorPlanner(SearchPlanner):
    """Passes every question on to the recipe's actor."""

    def __init__(self, config: ActorPlannerConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        if proposal is None:
            raise ValueError("planner `actor` needs an actor: fill the slot `actor`, or choose a planner that searches")
        self.actor = proposal

    def initial(self, batch_size: int) -> Carry:
        return self.actor.initial(batch_size)

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        return self.actor.plan(latent, carry, imagination, explore=explore, sampling=sampling)
