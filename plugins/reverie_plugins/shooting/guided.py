"""Policy-guided shooting: the actor proposes, the world model judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Imagination, Latent, Sampling, SearchPlanner
from reverie_plugins.shooting.plans import best_of
from reverie_plugins.shooting.proposals import proposed_plans

if TYPE_CHECKING:
    from reverie_plugins.shooting.config import GuidedConfig


class Guided(SearchPlanner):
    """Draws plans from the actor, scores them by imagined reward plus value, executes the best one's first action.

    One candidate is the actor's own most likely plan, so that a search which finds nothing better acts as the actor
    does. Plans are scored afresh, by particles of their own: the imagined luck that a plan was drawn with is no merit
    of the plan. No memory.

    Raises:
        ValueError: without an actor.
    """

    def __init__(self, config: GuidedConfig, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__(config, action, proposal)
        if proposal is None:
            raise ValueError("planner `guided` needs an actor that proposes: fill the slot `actor`")
        self.config = config
        self.actor = proposal

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        config = self.config
        plans = proposed_plans(
            self.actor, latent, config.candidates, config.horizon, imagination, sampling, first_is_likely=True
        )  # (B, N, H, A)
        scores = imagination.score(latent, plans, sampling=sampling, **config.scoring(imagination.has_value))  # (B, N)
        best = best_of(plans, scores, 1).plans[:, 0]  # (B, H, A)
        imagination.chose(best)
        return best[:, 0], carry
