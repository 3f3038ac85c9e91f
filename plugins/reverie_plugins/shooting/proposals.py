"""Plans that the recipe's actor would carry out, imagined step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import Actor, Imagination, Latent, Sampling


def proposed_plans(
    actor: Actor,
    latent: Latent,
    count: int,
    horizon: int,
    imagination: Imagination,
    sampling: Sampling,
    *,
    first_is_likely: bool = False,
) -> Tensor:
    """(B,) states -> (B, count, H, A) plans within bounds, drawn from the actor along imagined states.

    Actions are drawn whatever the mode of `sampling`, since equal proposals would be one; states follow the mode.

    Args:
        first_is_likely: plan 0 of every environment holds the actor's most likely actions instead.
    """
    (B,) = latent.batch_shape
    drawing, likely = sampling.with_mode("sample"), sampling.with_mode("mode")
    first = torch.arange(B * count, device=latent.device)[:, None] % count == 0  # (B * N, 1)

    def act(state: Latent, _: Sampling) -> Tensor:
        policy = actor.policy(state)
        action = drawing.draw(policy)  # (B * N, A)
        if first_is_likely:
            action = torch.where(first, likely.draw(policy), action)
        return action.clamp(-1, 1)

    actions = imagination.rollout(latent.repeat(count), act, horizon, sampling).actions  # (B * N, H, A)
    return actions.reshape(B, count, *actions.shape[1:])
