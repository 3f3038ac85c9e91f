"""The imagined trajectories that an update of actor and critic is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reverie.contracts import Actor, Imagination, Latent, Sampling, Trajectory, View


@dataclass(frozen=True)
class Imagined:
    """Trajectories and what the policy says along them, for the states 0..H-1 in which it acted.

    Args:
        trajectory: N starts, H steps.
        log_prob: (N, H) of the actions taken; None where the gradient goes through the dynamics.
        entropy: (N, H) of the policy.
    """

    trajectory: Trajectory
    log_prob: Tensor | None
    entropy: Tensor


@dataclass(frozen=True)
class Starts:
    """Filtered states to imagine from, K of each of the B rows, N = B * K.

    Args:
        states: (N,) without gradient, the K of a row side by side.
        alive: (N,), their real continue flags.
        times: (B, K), where in its row each of them stands.
    """

    states: Latent
    alive: Tensor
    times: Tensor


def choose_starts(view: View, starts: int | None, sampling: Sampling) -> Starts:
    """Every row of the batch gives the same number of states, chosen by noise that belongs to the row, so that ranks
    choose what one process would choose on the joined batch."""
    B, T = view.shape
    states: Latent = view.observed.states.detach()  # (B, T)
    alive = view.batch.cont  # (B, T)
    each = T if starts is None else max(1, starts // (B * sampling.shard[1]))
    if each >= T:
        return Starts(states.flatten(), alive.flatten(), torch.arange(T, device=alive.device).expand(B, T))
    noise = sampling.rand((B, T), device=alive.device)
    times = noise.topk(each, dim=1).indices  # (B, K)
    rows = torch.arange(B, device=times.device)[:, None]
    return Starts(states[rows, times].flatten(), alive[rows, times].flatten(), times)


def imagine_for_reinforce(
    start: Latent, actor: Actor, imagination: Imagination, horizon: int, sampling: Sampling
) -> Imagined:
    """No graph through the dynamics: it imagines without gradients, then the policy sees all states at once."""
    with torch.no_grad():
        trajectory = imagination.rollout(
            start, lambda latent, noise: noise.draw(actor.policy(latent)), horizon, sampling
        )
    policy = actor.policy(trajectory.states[:, :-1])
    return Imagined(trajectory, policy.log_prob(trajectory.actions), policy.entropy())


def imagine_through_dynamics(
    start: Latent, actor: Actor, imagination: Imagination, horizon: int, sampling: Sampling
) -> Imagined:
    """The graph runs from every state back to the actions before it. The policy sees states cut from the graph: an
    action answers for its consequences, not for what it was based on."""
    entropies: list[Tensor] = []

    def act(latent: Latent, noise: Sampling) -> Tensor:
        policy: Any = actor.policy(latent.detach())
        entropies.append(policy.entropy())  # (N,)
        return noise.draw(policy)

    trajectory = imagination.rollout(start, act, horizon, sampling)
    return Imagined(trajectory, None, torch.stack(entropies, 1))
