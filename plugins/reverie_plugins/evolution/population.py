"""Many actors that differ in nothing but their weights, acting side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.contracts import Actor, AgentParts, Latent, Sampling
from reverie_plugins.evolution.actor import LinearActor

Array = NDArray[Any]

MODE = Sampling(mode="mode")


class Population:
    """P candidates of one actor.

    Args:
        actor: what they are weights of; it is not changed.
        weights: (P, n), each row all parameters of the actor in order.
        discrete: whether its actions are one-hot.
    """

    def __init__(self, actor: Actor, weights: Tensor, discrete: bool) -> None:
        self.size, self.discrete = len(weights), discrete
        self._greedy = _Greedy(actor, discrete)
        self._stacked: dict[str, Tensor] = {}
        position = 0
        for name, parameter in self._greedy.named_parameters():
            part = weights[:, position : position + parameter.numel()]  # (P, numbers)
            self._stacked[name] = part.to(parameter).reshape(self.size, *parameter.shape).contiguous()
            position += parameter.numel()

    def act(self, latent: Latent) -> Tensor:
        """(R * P,) states, neighbours belonging to different candidates (row r * P + i to candidate i) -> (R * P, A):
        the most likely action of each."""
        rows = latent.batch_shape[0] // self.size
        if isinstance(self._greedy.actor, LinearActor):
            return self._finished(self._linear(latent.features.unflatten(0, (rows, self.size))))
        kind = type(latent)
        grouped = latent.reshape(rows, self.size).tensors()  # each (R, P, ...)

        def one(parameters: dict[str, Tensor], tensors: dict[str, Tensor]) -> Tensor:
            found: Tensor = torch.func.functional_call(self._greedy, parameters, (kind(**tensors),))
            return found

        found: Tensor = torch.func.vmap(one, in_dims=(0, 1), out_dims=1)(self._stacked, grouped)  # (R, P, A)
        return self._finished(found)

    def _linear(self, features: Tensor) -> Tensor:
        """(R, P, F) -> (R, P, A), a third of the time that `vmap` takes."""
        weight, bias = self._stacked["actor.linear.weight"], self._stacked["actor.linear.bias"]  # (P, A, F), (P, A)
        outputs = torch.einsum("rpf,paf->rpa", features, weight) + bias
        return outputs if self.discrete else torch.tanh(outputs)

    def _finished(self, found: Tensor) -> Tensor:
        """(R, P, A) scores of discrete actions or continuous actions -> (R * P, A) actions."""
        action = found.flatten(0, 1)
        if not self.discrete:
            return action
        return nn.functional.one_hot(action.argmax(-1), action.shape[-1]).to(action.dtype)


class _Greedy(nn.Module):
    """The part of an actor that `functional_call` can reach: states -> the most likely action, or the probabilities of
    discrete ones (making one-hot vectors inside `vmap` is slow)."""

    def __init__(self, actor: Actor, discrete: bool) -> None:
        super().__init__()
        self.actor, self.discrete = actor, discrete

    def forward(self, latent: Latent) -> Tensor:
        """(R,) states -> (R, A)."""
        policy = self.actor.policy(latent)
        return policy.mean if self.discrete else policy.mode


@dataclass(frozen=True)
class PopulationState:
    """What n environments remember: filtered states (n,) and the last actions (n, A)."""

    latent: Latent
    action: Tensor


class PopulationPolicy:
    """Satisfies `Policy`: row r * P + i of its batch is played by candidate i."""

    def __init__(self, agent: AgentParts, population: Population) -> None:
        self.agent, self.population = agent, population

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> PopulationState:
        latent = self.agent.dynamics.initial(n)
        return PopulationState(latent, torch.zeros(n, self.agent.action.size, device=latent.device))

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: PopulationState,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
    ) -> tuple[Array, PopulationState]:
        agent, device = self.agent, state.action.device
        raw = {key: torch.as_tensor(value, device=device) for key, value in obs.items()}
        first = torch.as_tensor(is_first, dtype=torch.bool, device=device)  # (n,)
        with torch.no_grad():
            embed = agent.encoder(agent.preprocess(raw), MODE)  # (n, E)
            latent: Any = agent.dynamics.filter(embed, state.action, first, state.latent, sampling=MODE)
            action = self.population.act(latent)  # (n, A)
        executed: Array = action.float().cpu().numpy()
        return executed, PopulationState(latent, action)
