"""The learner `policy_prior`: an actor that climbs the Q heads (TD-MPC2, section 3.2, equation 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import Optimizer

from reverie.contracts import AgentParts, Context, Learner, Transition, View
from reverie.nn import ReturnScale, adam
from reverie_plugins.tdmpc2.dynamics import decay_of
from reverie_plugins.tdmpc2.head import two_of, values
from reverie_plugins.tdmpc2.latent import rollout_weights

if TYPE_CHECKING:
    from reverie_plugins.tdmpc2.config import PolicyPriorLearnerConfig


class PolicyPriorLearner(Learner):
    """Loss: `actor`, (B, T), on the open-loop states of the update, after the model and its Q heads have stepped.

    -(Q / S + entropy * A * H): Q is the mean of two heads at a draw of the policy, S the range of values, H the
    policy's entropy in nats and A the number of action entries. Neither Q heads nor model are trained. Buffers: the
    moving range of values.
    """

    own_backward = True
    config: PolicyPriorLearnerConfig

    def __init__(self, config: PolicyPriorLearnerConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        if agent.heads["value"].reads != "before_action":
            raise ValueError("the head in heads/value must judge actions (reads = 'before_action')")
        self._entries = agent.action.size
        self.rho = decay_of(config.rho, agent.dynamics)
        self.scale = ReturnScale(config.scale_decay)
        self._trained = self.trained(agent)  # a list, which does not register them a second time

    def optimizers(self) -> Sequence[Optimizer]:
        return [adam(self._trained, self.config.lr, self.config.eps)]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        actor, head, states = ctx.agent.actor, ctx.agent.heads["value"], view.observed.train.detach()  # (B, T)
        if actor is None:
            raise ValueError("`policy_prior` trains an actor, and the slot `actor` is empty")
        policy = actor.policy(states)
        action = ctx.sampling.draw(policy)  # (B, T, A)
        with ctx.frozen(["heads/value"]):
            chosen = two_of(head.members, ctx.sampling, action.device)  # (2,)
            value = values(head, Transition(before=states, action=action, after=None), chosen).mean(-1)  # (B, T)
        self.scale.update(value[:, 0], ctx.gather)
        entropy = policy.entropy()  # (B, T)
        gain = value / self.scale.divisor() + self.config.entropy * self._entries * entropy
        ctx.log("value", value.detach().mean())
        ctx.log("entropy", entropy.detach().mean())
        ctx.log("value_range", self.scale.range())
        return {"actor": -rollout_weights(view.batch.is_first, self.rho, gain.dtype) * gain}
