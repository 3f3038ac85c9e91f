"""What an agent makes of held-out episodes: filtering, open-loop imagination, its own policy in imagination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reverie.contracts.behaviour import Trajectory
from reverie.contracts.latent import Latent
from reverie.contracts.model import Observed
from reverie.contracts.sampling import Sampling
from reverie.evaluation.dreaming import code_decoder
from reverie.evaluation.world_model.held_out import HeldOut

ENCODED_ROWS = 256
"""Observations that are encoded at once."""


@dataclass(frozen=True)
class Imagined:
    """Predictions for N starts and H steps.

    Args:
        obs: raw entries (N, H, *shape), float32; those that the decoder gives, none without one.
        reward: (N, H) on arrival; None without a reward head.
        cont: (N, H) probability to go on after arrival; None without a continue head.
    """

    obs: dict[str, Tensor]
    reward: Tensor | None
    cont: Tensor | None


def embedded(agent: Any, held: HeldOut, sampling: Sampling) -> Tensor:
    """(B, T, E): what the encoder makes of all rows, a few at a time."""
    B, T = held.shape
    rows = max(1, ENCODED_ROWS // B)
    pieces = [{key: value[:, t : t + rows] for key, value in held.obs.items()} for t in range(0, T, rows)]
    return torch.cat([agent.encoder(agent.preprocess(piece), sampling) for piece in pieces], 1)


def filtered(agent: Any, held: HeldOut, sampling: Sampling) -> Observed[Any]:
    """The states (B, T) of one filtering pass over all episodes."""
    embed = embedded(agent, held, sampling)
    observed: Observed[Any] = agent.dynamics.observe(
        embed, held.action.to(embed.dtype), held.is_first, sampling=sampling
    )
    return observed


def imagined_from(agent: Any, start: Latent, action: Tensor, sampling: Sampling) -> Imagined:
    """Imagine (N,) starts along real actions (N, H, A). An ensemble answers with the mean over its members."""
    copies = agent.dynamics.members or 1
    states = agent.dynamics.branch(start, copies) if copies > 1 else start  # (N * M,)
    plan = action.to(states.features.dtype).repeat_interleave(copies, 0)  # (N * M, H, A)
    steps = iter(plan.unbind(1))
    imagination = agent.imagination
    trajectory = imagination.rollout(states, lambda _latent, _sampling: next(steps), plan.shape[1], sampling)

    def members(value: Tensor) -> Tensor:  # (N * M, ...) -> (N, ...)
        return value.reshape(-1, copies, *value.shape[1:]).float().mean(1)

    return Imagined(
        obs={key: members(value) for key, value in decoded(agent, trajectory.states[:, 1:]).items()},
        reward=members(imagination.rewards(trajectory)) if "reward" in agent.heads else None,
        cont=members(imagination.continues(trajectory)) if "continue" in agent.heads else None,
    )


def imagined_return(
    agent: Any, start: Latent, horizon: int, sampling: Sampling, continue_discount: float = 1.0
) -> Tensor:
    """(N,): undiscounted rewards of the agent's own policy in imagination, weighted by the chance to come that far.

    Args:
        agent: which acts.
        start: (N,) states.
        horizon: steps.
        sampling: of actions and states.
        continue_discount: what the continue head, if there is one, says of a certain "goes on"; it is divided out.
    """
    act = policy_of(agent, len(start.features))
    trajectory: Trajectory = agent.imagination.rollout(start, act, horizon, sampling)
    certain = continue_discount if "continue" in agent.heads else 1.0
    returns: Tensor = agent.imagination.returns(trajectory, discount=1 / certain)
    return returns


def policy_of(agent: Any, rows: int) -> Callable[[Latent, Sampling], Tensor]:
    """The agent's planner as it acts on (rows,) imagined states, with the memory of its own that it may have."""
    carry = agent.planner.initial(rows)

    def act(latent: Latent, sampling: Sampling) -> Tensor:
        nonlocal carry
        action, carry = agent.planner.plan(latent, carry, agent.imagination, explore=False, sampling=sampling)
        chosen: Tensor = action if agent.action.is_discrete else action.clamp(-1.0, 1.0)  # (rows, A)
        return chosen

    return act


def decoded(agent: Any, states: Latent) -> dict[str, Tensor]:
    decoder = code_decoder(agent)
    if decoder is None:
        return {}
    found: dict[str, Tensor] = agent.postprocess(
        {key: distribution.mean for key, distribution in decoder(states.code).items()}
    )
    return found
