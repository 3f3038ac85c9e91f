"""The learner `dreamer`: an actor and a critic that learn in imagination (Dreamer, V1 to V3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from reverie.contracts import Actor, AgentParts, Context, Distribution, Head, Latent, Learner, Transition, View
from reverie.nn import (
    ReturnScale,
    SlowCopy,
    lambda_return,
    make_optimizers,
    nll,
    replayed_returns,
    trajectory_weights,
)
from reverie_plugins.dreamer.imagined import (
    Imagined,
    Starts,
    choose_starts,
    imagine_for_reinforce,
    imagine_through_dynamics,
)
from reverie_plugins.dreamer.replayed import anchors

if TYPE_CHECKING:
    from reverie_plugins.dreamer.config import DreamerConfig


@dataclass(frozen=True)
class Judged:
    """What the critic makes of imagined trajectories, all (N, H) but `value`.

    Args:
        returns: lambda-returns of states 0..H-1, with whatever graph leads to them.
        value: (N, H + 1), what the returns were made of.
        weights: how much each state counts, without gradient.
    """

    returns: Tensor
    value: Tensor
    weights: Tensor


class ActorCritic(Learner):
    """Steps the actor and the value head, each with an optimizer of its own. Losses: `actor`, `critic`, (N, H), and
    with `replay_value` also `replay_critic`, (B, T - 1).

    Buffers: the slow copy of the critic and the moving range of returns.
    """

    config: DreamerConfig

    def __init__(self, config: DreamerConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        critic = agent.heads["value"]
        if set(config.trains) != {"actor", "heads/value"}:
            raise ValueError(f"`dreamer` trains the actor and heads/value, not {', '.join(config.trains) or 'nothing'}")
        if critic.reads != "after":
            raise ValueError("the head in heads/value must judge states (reads = 'after'), and it reads actions")
        self.reinforce = config.gradient == "reinforce" or (config.gradient == "auto" and agent.action.is_discrete)
        self.discount = config.per_decision(config.discount, agent.action.repeat)
        replayed = config.discount if config.replay_discount is None else config.replay_discount
        self.replay_discount = config.per_decision(replayed, agent.action.repeat)
        self.slow = SlowCopy(critic, config.slow_rate, config.slow_every)
        self.scale = ReturnScale(config.return_decay)
        self._members = critic.members
        # Lists and not modules: these parameters are saved with the agent.
        self._stepped = [list(agent.module(slot).parameters()) for slot in ("actor", "heads/value")]

    def optimizers(self) -> Sequence[Optimizer]:
        config = self.config
        actor, critic = self._stepped
        name, eps, warmup = config.optimizer, config.eps, config.warmup
        return [
            *make_optimizers(name, actor, config.actor_lr, eps, betas=config.actor_betas, warmup=warmup),
            *make_optimizers(name, critic, config.critic_lr, eps, warmup=warmup),
        ]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        starts = choose_starts(view, self.config.starts, ctx.sampling)
        losses, judged = self._by_reinforce(starts, ctx) if self.reinforce else self._through_dynamics(starts, ctx)
        if self.config.replay_value:
            losses["replay_critic"] = self.config.replay_value * self._replayed(view, starts, judged, ctx)
        return losses

    def after_step(self, ctx: Context) -> None:
        self.slow.update(ctx.agent.heads["value"])

    def _by_reinforce(self, starts: Starts, ctx: Context) -> tuple[dict[str, Tensor], Judged]:
        """-log pi(a) sg(advantage); one pass of the critic gives both the values and its own loss."""
        imagined = imagine_for_reinforce(starts.states, _actor(ctx), ctx.imagination, self.config.horizon, ctx.sampling)
        states = imagined.trajectory.states
        critic = _judge(ctx.agent.heads["value"], states)  # (N, H + 1)
        with torch.no_grad():
            slow = self._slow_value(states)
            online = _mean(critic, self._members).detach()  # some distributions keep a mean with its graph
            judged = self._returns(imagined, starts.alive, online if self.config.targets == "online" else slow, ctx)
        advantage = (judged.returns - judged.value[:, :-1]) / self._divisor(judged, ctx)  # (N, H)
        assert imagined.log_prob is not None
        gain = imagined.log_prob * advantage + self.config.entropy * imagined.entropy  # (N, H)
        self._log(imagined, judged, ctx)
        return {"actor": -judged.weights * gain, "critic": self._critic_loss(critic, judged, slow)}, judged

    def _through_dynamics(self, starts: Starts, ctx: Context) -> tuple[dict[str, Tensor], Judged]:
        """-advantage, whose gradient passes through critic, heads and dynamics into the actions."""
        actor, head = _actor(ctx), ctx.agent.heads["value"]
        with ctx.frozen([*self.config.reaches, "heads/value"]):
            imagined = imagine_through_dynamics(
                starts.states, actor, ctx.imagination, self.config.horizon, ctx.sampling
            )
            states = imagined.trajectory.states
            value = ctx.imagination.value(states) if self.config.targets == "online" else self._slow_value(states)
            judged = self._returns(imagined, starts.alive, value, ctx)
        gain = judged.returns - judged.value[:, :-1] if self.config.baseline else judged.returns  # (N, H)
        gain = gain / self._divisor(judged, ctx) + self.config.entropy * imagined.entropy
        self._log(imagined, judged, ctx)
        seen = states.detach()
        with torch.no_grad():
            slow = value if self.config.targets == "slow" else self._slow_value(seen)  # (N, H + 1)
        critic = self._critic_loss(_judge(head, seen), judged, slow)
        return {"actor": -judged.weights * gain, "critic": critic}, judged

    def _replayed(self, view: View, starts: Starts, judged: Judged, ctx: Context) -> Tensor:
        """(B, T - 1): the critic's loss on the states that were really visited, towards the returns that were really
        received. Only its prediction carries a gradient, into the model where the options say so."""
        config, states = self.config, view.observed.states
        if view.shape[1] < 2:
            raise ValueError("`replay_value` needs chunks of at least 2 steps: raise `replay.length`, or set it to 0")
        if not config.replay_value_into_model:
            states = states.detach()
        critic = _judge(ctx.agent.heads["value"], states)  # (B, T)
        with torch.no_grad():
            slow = self._slow_value(states)  # (B, T)
            value = slow if config.targets == "slow" else _mean(critic, self._members)  # (B, T)
            anchor = anchors(value, starts.times, judged.returns[:, 0])  # (B, T)
            returns, counts = replayed_returns(view.batch, anchor, self.replay_discount, config.lam)  # each (B, T - 1)
            target = torch.cat([returns, anchor[:, -1:]], 1)  # (B, T)
        ctx.log("replayed_return", (returns * counts).sum() / counts.sum().clamp_min(1))
        return counts * self._towards(critic, target, slow)[:, :-1]

    def _returns(self, imagined: Imagined, alive: Tensor, value: Tensor, ctx: Context) -> Judged:
        rewards = ctx.imagination.rewards(imagined.trajectory)  # (N, H)
        continues = ctx.imagination.continues(imagined.trajectory)  # (N, H)
        if self.config.continues == "mode":
            continues = (continues > 0.5).to(continues.dtype)  # (N, H)
        returns = lambda_return(rewards, continues, value, self.discount, self.config.lam)  # (N, H)
        return Judged(returns, value, trajectory_weights(alive, continues, self.discount))

    def _divisor(self, judged: Judged, ctx: Context) -> Tensor | float:
        if not self.config.scale_returns:
            return 1.0
        self.scale.update(judged.returns, ctx.gather)
        return self.scale.divisor()

    def _critic_loss(self, critic: Distribution, judged: Judged, slow: Tensor) -> Tensor:
        """(N, H): towards the returns, and a little towards the slow copy. `critic` and `slow` cover H + 1 states; the
        last has no return and is left out."""
        target = torch.cat([judged.returns, judged.value[:, -1:]], 1).detach()  # (N, H + 1)
        return judged.weights * self._towards(critic, target, slow)[:, :-1]

    def _towards(self, critic: Distribution, target: Tensor, slow: Tensor) -> Tensor:
        """(*B): -log p(target), and with its weight -log p(the slow copy's value)."""
        loss = nll(critic, target, self._members)
        if self.config.slow_regulariser:
            loss = loss + self.config.slow_regulariser * nll(critic, slow.detach(), self._members)
        return loss

    def _slow_value(self, states: Latent) -> Tensor:
        """(*B)."""
        return _mean(_judge(self.slow, states), self._members)

    def _log(self, imagined: Imagined, judged: Judged, ctx: Context) -> None:
        ctx.log("return", judged.returns.detach().mean())
        ctx.log("entropy", imagined.entropy.detach().mean())
        ctx.log("return_range", self.scale.range())


def _actor(ctx: Context) -> Actor:
    actor = ctx.agent.actor
    if actor is None:
        raise ValueError("`dreamer` trains an actor, and the slot `actor` is empty")
    return actor


def _judge(head: Head | SlowCopy, states: Latent) -> Distribution:
    judged: Distribution = head(Transition(before=None, action=None, after=states))
    return judged


def _mean(distribution: Distribution, members: int | None) -> Tensor:
    return distribution.mean if members is None else distribution.mean.mean(-1)
