"""The implicit world model of TD-MPC2 (Hansen et al. 2024, section 3.1).

z_t = h(o_t)                    the encoder, whose last layer stands here
ẑ_t = d(ẑ_{t-1}, a_t)           the transition; ẑ = z where a rollout begins

Nothing is decoded. Predictions are held to what the encoder makes of the next observation, without gradient into it;
that the latents do not all become one is the work of reward and value, whose gradients reach encoder and dynamics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Dynamics, Observed, Sampling, View
from reverie.nn import MLP, Dense, simplicial
from reverie_plugins.tdmpc2.config import ImplicitConfig
from reverie_plugins.tdmpc2.latent import ImplicitLatent, transition_weights


class Implicit(Dynamics[ImplicitLatent]):
    """A state that one observation gives, without memory, and a deterministic transition between such states.

    `train` of `observe` is the open-loop rollout from the first state of a chunk; at episode borders it begins anew.
    """

    def __init__(self, config: ImplicitConfig, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.config = config
        self.continuous = not action.is_discrete
        self.read = Dense(embed_size, config.latent, activation="none")
        inputs, hidden = config.latent + action.size, [config.units] * config.layers
        self.hidden = MLP(inputs, config.units, config.layers, activation=config.activation)
        self.last = Dense(hidden[-1] if hidden else inputs, config.latent, activation="none")
        self.feature_size = self.code_size = config.latent

    def initial(self, batch_size: int) -> ImplicitLatent:
        weight = self.read.linear.weight
        return ImplicitLatent(weight.new_full((batch_size, self.config.latent), 1 / self.config.group))  # (B, F)

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        state: ImplicitLatent | None = None,
        *,
        sampling: Sampling,
    ) -> Observed[ImplicitLatent]:
        states = self._encoded(embed)  # (B, T, F)
        begins = self.initial(len(is_first)).z if state is None else state.z  # (B, F)
        forget = is_first.unsqueeze(-1)  # (B, T, 1)
        before = torch.where(forget, self.initial(1).z, torch.cat([begins[:, None], states[:, :-1]], 1))  # (B, T, F)
        actions = action.masked_fill(forget, 0.0)  # (B, T, A)
        priors = self._next(before, actions)  # (B, T, F)
        rollout = [states[:, 0]]
        for t in range(1, is_first.shape[1]):
            # One step from an encoded state is the prior already.
            predicted = priors[:, t] if t == 1 else self._next(rollout[-1], actions[:, t])  # (B, F)
            rollout.append(torch.where(forget[:, t], states[:, t], predicted))
        return Observed(
            states=ImplicitLatent(states),
            priors=ImplicitLatent(priors),
            train=ImplicitLatent(torch.stack(rollout, 1)),
            last=ImplicitLatent(states[:, -1]),
        )

    def filter(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: ImplicitLatent, *, sampling: Sampling
    ) -> ImplicitLatent:
        return ImplicitLatent(self._encoded(embed))  # (B, F)

    def imagine(self, state: ImplicitLatent, action: Tensor, sampling: Sampling) -> ImplicitLatent:
        return ImplicitLatent(self._next(state.z, action))  # (B, F)

    def losses(self, view: View) -> dict[str, Tensor]:
        """`consistency`: the mean squared difference of predicted and encoded latents, weighted by rho^steps.

        0 at the first step of a chunk or an episode, which nothing predicts. The others count T / (T - 1) times, so
        that the mean over a chunk without a border is the mean over its transitions.
        """
        observed, is_first = view.observed, view.batch.is_first
        T = is_first.shape[1]
        error = (observed.train.z - observed.states.z.detach()).square().mean(-1)  # (B, T)
        weights = torch.zeros_like(error)
        weights[:, 1:] = transition_weights(is_first, self.config.rho, error.dtype) * (T / max(1, T - 1))
        return {"consistency": self.config.consistency * weights * error}

    def _encoded(self, embed: Tensor) -> Tensor:
        """(*B, E) -> (*B, F): the last layer of the encoder."""
        return simplicial(self.read.forward(embed), self.config.group)

    def _next(self, z: Tensor, action: Tensor) -> Tensor:
        """(*B, F), (*B, A) -> (*B, F). Draws of an actor may leave the bounds that the environment clips to: the model
        is shown what would be executed, while the gradient still passes."""
        if self.continuous:
            action = action / action.detach().abs().clamp_min(1.0)
        hidden = self.hidden.forward(torch.cat((z, action), -1))  # (*B, units)
        return simplicial(self.last.forward(hidden), self.config.group)


def decay_of(rho: float | None, dynamics: Any) -> float:
    """What each further step weighs less by: a learner's own number, or else the dynamics', or else 0.5."""
    if rho is not None:
        return rho
    return dynamics.config.rho if isinstance(dynamics, Implicit) else 0.5
