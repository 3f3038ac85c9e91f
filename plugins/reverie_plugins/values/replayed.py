"""The learner `replayed_value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from reverie.contracts import AgentParts, Context, Learner, Transition, View
from reverie.nn import SlowCopy, adam, nll, replayed_returns

if TYPE_CHECKING:
    from reverie_plugins.values.config import ReplayedValueConfig


class ReplayedValue(Learner):
    """What the behaviour so far was worth from each state on: V(s_t) is fitted to TD(lambda) returns of real steps.

    A planner that adds this value behind its horizon is at least as good as that behaviour, as far as both are known,
    and its own steps make the value better in turn (Lowrey et al. 2019, POLO, plan and learn in the same way; there the
    returns are planned ones). Loss: `value`, (B, T), 0 where a state has no return. The states are cut from the graph.
    """

    config: ReplayedValueConfig

    def __init__(self, config: ReplayedValueConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        head = agent.heads["value"]
        if head.reads != "after":
            raise ValueError(
                "`replayed_value` trains a head that judges states (reads = 'after'); this one reads actions"
            )
        self.slow = SlowCopy(head, config.slow_rate)
        self._members = head.members
        self._stepped = self.trained(agent)

    def optimizers(self) -> Sequence[Optimizer]:
        return [adam(self._stepped, self.config.lr)]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        states = Transition(before=None, action=None, after=view.observed.train.detach())
        predicted = ctx.agent.heads["value"](states)  # (B, T)
        with torch.no_grad():
            mean = self.slow(states).mean
            value = mean if self._members is None else mean.mean(-1)  # (B, T)
            returns, counts = replayed_returns(view.batch, value, self.config.discount, self.config.lam)
            target = torch.cat([returns, value[:, -1:]], 1)  # (B, T)
            weight = torch.cat([counts, torch.zeros_like(counts[:, :1])], 1)  # (B, T): the last one has no return
        ctx.log("return", (returns * counts).sum() / counts.sum().clamp_min(1))
        return {"value": weight * nll(predicted, target, self._members)}

    def after_step(self, ctx: Context) -> None:
        self.slow.update(ctx.agent.heads["value"])
