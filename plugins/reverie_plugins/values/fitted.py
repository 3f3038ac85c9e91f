"""The learner `fitted_value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from reverie.contracts import ActionSpec, AgentParts, Context, Latent, Learner, Sampling, Transition, View
from reverie.nn import adam, nll, one_hot_from

if TYPE_CHECKING:
    from reverie_plugins.values.config import FittedValueConfig


class FittedValue(Learner):
    """Fitted value iteration (Gordon 1995; Munos and Szepesvari 2008) in the world model.

    V(s) <- max over plans a_1..a_H of E[sum of rewards + discount^H V(s_H)], weighted by the chance to come so far, and
    averaged over the particles or members of the dynamics. It starts from where experience has been and needs no
    policy: after k rounds V knows k steps more than nothing, so that a planner with it looks k steps further. Loss:
    `value`, (starts,), 0 where the task has ended. The states are cut from the graph.
    """

    config: FittedValueConfig

    def __init__(self, config: FittedValueConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        head = agent.heads["value"]
        if head.reads != "after":
            raise ValueError(
                "`fitted_value` trains a head that judges states (reads = 'after'); this one reads actions"
            )
        self._members = head.members
        self._stepped = self.trained(agent)

    def optimizers(self) -> Sequence[Optimizer]:
        return [adam(self._stepped, self.config.lr)]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        config, agent = self.config, ctx.agent
        states, going = self._starts(view, ctx.sampling)  # (S,)
        with torch.no_grad():
            plans = plans_from(agent.action, len(going), config.candidates, config.horizon, states, ctx.sampling)
            scores = ctx.imagination.score(
                states, plans, sampling=ctx.sampling, discount=config.discount, bootstrap=True
            )  # (S, N)
            best = scores.max(1).values  # (S,)
            usable = torch.isfinite(best)  # a model that blew up teaches nothing
            target = torch.where(usable, best, 0.0)
        ctx.log("return", target.mean())
        predicted = agent.heads["value"](Transition(before=None, action=None, after=states))
        return {"value": going * usable * nll(predicted, target, self._members)}

    def _starts(self, view: View, sampling: Sampling) -> tuple[Latent, Tensor]:
        """S states of the batch and whether the task goes on from them, by noise that belongs to the row."""
        B, T = view.shape
        each = min(T, max(1, self.config.starts // (B * sampling.shard[1])))
        chosen = sampling.rand((B, T), device=view.batch.reward.device).topk(each, dim=1).indices  # (B, each)
        row = torch.arange(B, device=chosen.device)[:, None]
        states: Latent = view.observed.states.detach()[row, chosen]
        return states.flatten(), view.batch.cont[row, chosen].flatten()


def plans_from(action: ActionSpec, S: int, N: int, H: int, like: Latent, sampling: Sampling) -> Tensor:
    """(S, N, H, A) plans: every one of a discrete space's where these are no more than N, else uniformly random."""
    features = like.features
    if action.is_discrete and action.size**H <= N:
        every = torch.cartesian_prod(*[torch.arange(action.size, device=features.device)] * H).reshape(-1, H)
        return F.one_hot(every, action.size).to(features).expand(S, -1, -1, -1)  # (S, A^H, H, A)
    if action.is_discrete:
        noise = sampling.rand((S, N, H), device=features.device).to(features.dtype)
        return one_hot_from(features.new_full((S, N, H, action.size), 1 / action.size), noise)
    noise = sampling.rand((S, N, H, action.size), device=features.device).to(features.dtype)
    return 2 * noise - 1
