"""The learner `tdmpc2`: encoder, dynamics, heads and Q ensemble by one summed loss (TD-MPC2, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reverie.contracts import AgentParts, Context, Head, Learner, Transition, View
from reverie.nn import SlowCopy, adam, nll
from reverie_plugins.tdmpc2.dynamics import Implicit, decay_of
from reverie_plugins.tdmpc2.head import QEnsemble, two_of, values
from reverie_plugins.tdmpc2.latent import transition_weights

if TYPE_CHECKING:
    from reverie_plugins.tdmpc2.config import TDMPC2Config


class TDMPC2(Learner):
    """Losses: `dynamics/<term>` and `<objective>/<term>`, (B, T); `reward`, `value`, `continue`, (B, T - 1).

    Everything that is predicted is predicted from the open-loop rollout, so that the gradient of every term passes
    through dynamics and encoder (note 13). Targets of the value come from encoded states. Buffers: the slow copy of the
    Q heads.
    """

    config: TDMPC2Config

    def __init__(self, config: TDMPC2Config, agent: AgentParts) -> None:
        super().__init__(config, agent)
        value = agent.heads["value"]
        if value.reads != "before_action":
            raise ValueError("the head in heads/value must judge actions (reads = 'before_action')")
        self.discount = config.per_decision
        self.rho = decay_of(config.rho, agent.dynamics)
        self.slow = SlowCopy(value, config.slow_rate)
        self._members = value.members
        slowly = [agent.module("encoder")] if "encoder" in config.trains else []
        if isinstance(agent.dynamics, Implicit) and slowly:
            slowly.append(agent.dynamics.read)  # the encoder's last layer
        # Lists and not modules: these parameters are saved with the agent.
        self._encoding = [parameter for module in slowly for parameter in module.parameters()]
        held = set(self._encoding)
        self._others = [parameter for parameter in self.trained(agent) if parameter not in held]

    def optimizers(self) -> Sequence[Optimizer]:
        config = self.config
        groups: list[tuple[list[nn.Parameter], float]] = [
            (self._others, config.lr),
            (self._encoding, config.encoder_lr_scale * config.lr),
        ]
        return [adam(parameters, lr, config.eps) for parameters, lr in groups if parameters]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        agent, config, batch = ctx.agent, self.config, view.batch
        if batch.shape[1] < 2:
            raise ValueError("`tdmpc2` learns from transitions: chunks need at least 2 steps (`replay.length`)")
        found = self._model_losses(view)
        weights = transition_weights(batch.is_first, self.rho, batch.reward.dtype)  # (B, T - 1)
        reward, rewards = agent.heads["reward"], batch.reward[:, 1:]
        found["reward"] = config.reward_scale * weights * nll(reward(_read(reward, view)), rewards, reward.members)
        found["value"] = config.value_scale * weights * self._value_loss(view, ctx)
        if "heads/continue" in config.trains:
            goes_on = agent.heads["continue"]
            told = nll(goes_on(_read(goes_on, view)), batch.cont[:, 1:], goes_on.members)  # (B, T - 1)
            found["continue"] = config.continue_scale * (weights > 0).to(told.dtype) * told
        return found

    def after_step(self, ctx: Context) -> None:
        self.slow.update(ctx.agent.heads["value"])

    def _model_losses(self, view: View) -> dict[str, Tensor]:
        """(B, T) each: what the dynamics and the objectives ask for themselves."""
        agent = view.agent
        found = {f"dynamics/{name}": loss for name, loss in agent.dynamics.losses(view).items()}
        for objective in self.config.objectives:
            terms = agent.objectives[objective].losses(view, agent)
            found.update({f"{objective}/{name}": loss for name, loss in terms.items()})
        return found

    def _value_loss(self, view: View, ctx: Context) -> Tensor:
        """(B, T - 1): the cross entropy of every Q head to the target, averaged over heads."""
        head, transition = ctx.agent.heads["value"], _read(ctx.agent.heads["value"], view)
        target = self.target(view, ctx)  # (B, T - 1)
        ctx.log("target", target.mean())
        told = head(transition, dropout=ctx.sampling) if isinstance(head, QEnsemble) else head(transition)
        return nll(told, target, self._members)

    @torch.no_grad()
    def target(self, view: View, ctx: Context) -> Tensor:
        """(B, T - 1): r + discount c min(Q_i, Q_j)(z, a) with a drawn from the policy at the encoded next state z, by
        two heads i, j of the slow copy. Past a true end (c = 0) nothing is worth anything; a time limit bootstraps."""
        actor = ctx.agent.actor
        if actor is None:
            raise ValueError("`tdmpc2` asks the actor what comes next, and the slot `actor` is empty")
        after = view.observed.states[:, 1:].detach()  # (B, T - 1)
        action = ctx.sampling.draw(actor.policy(after))  # (B, T - 1, A)
        chosen = two_of(self._members, ctx.sampling, action.device)  # (2,)
        following = values(self.slow, Transition(before=after, action=action, after=None), chosen)  # (B, T - 1, 2)
        return view.batch.reward[:, 1:] + self.discount * view.batch.cont[:, 1:] * following.amin(-1)


def _read(head: Head, view: View) -> Transition:
    """The transitions of each chunk, batch shape (B, T - 1), along the open-loop rollout."""
    states = view.observed.train
    return Transition(
        before=None if head.reads == "after" else states[:, :-1],
        action=None if head.reads == "after" else view.batch.action[:, 1:],
        after=None if head.reads == "before_action" else states[:, 1:],
    )
