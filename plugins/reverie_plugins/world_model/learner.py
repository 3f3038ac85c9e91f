"""The learner `world_model`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import Optimizer

from reverie import ByObservation
from reverie.contracts import AgentParts, Context, Learner, View
from reverie.nn import make_optimizers, nll

if TYPE_CHECKING:
    from reverie_plugins.world_model.config import WorldModelConfig


class WorldModel(Learner):
    """Sums the dynamics' own losses, the objectives' terms and the heads' negative log-likelihoods.

    Losses: `dynamics/<term>`, `<objective>/<term>`, `reward`, `continue`, each (B, T). A head that reads transitions
    has no loss where there is none (episode starts): those entries are 0 and still count in the mean, so that the mean
    over ranks is the mean over the joined batch.

    A slot that it only reaches counts as one that it trains, except that nothing steps it: a new encoder learns from
    what a frozen dynamics and frozen heads of another run say of its latents.

    Where the encoder is left alone (the M of V, M, C), the dynamics reads embeddings that are cut from the graph; where
    neither is trained (a new reward on a frozen model), heads and objectives see states that are. A learner of encoder
    and decoder alone, with an objective that reads the embedding, never runs the dynamics.
    """

    config: WorldModelConfig

    def __init__(self, config: WorldModelConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self._images = bool(agent.observation.images)
        self._parameters_trained = self.trained(agent)  # a list, which does not register them a second time

    def optimizers(self) -> Sequence[Optimizer]:
        config = self.config
        return make_optimizers(
            config.optimizer,
            self._parameters_trained,
            ByObservation.choose(config.lr, self._images),
            config.eps,
            warmup=config.warmup,
            falls_after=config.falls_after,
            weight_decay=config.weight_decay,
            average=config.average,
        )

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        agent, trains = view.agent, {*self.config.trains, *self.config.reaches}
        if "encoder" not in trains:
            view = view.encoded() if "dynamics" in trains else view.detach()
        found: dict[str, Tensor] = {}
        if "dynamics" in trains:
            found.update({f"dynamics/{name}": loss for name, loss in agent.dynamics.losses(view).items()})
        for objective in self.config.objectives:
            terms = agent.objectives[objective].losses(view, agent)
            found.update({f"{objective}/{name}": loss for name, loss in terms.items()})
        if "heads/reward" in trains:
            found["reward"] = self.config.reward_scale * _head_loss(view, "reward", view.batch.reward)
        if "heads/continue" in trains:
            target = self.config.continue_discount * view.batch.cont  # (B, T)
            found["continue"] = self.config.continue_scale * _head_loss(view, "continue", target)
        return found


def _head_loss(view: View, name: str, target: Tensor) -> Tensor:
    """(B, T): 0 where the head has no transition to read."""
    head = view.agent.heads[name]
    transition = view.transition(head.reads)
    loss = nll(head(transition), target, head.members)
    return loss if transition.valid is None else loss * transition.valid.to(loss.dtype)
