"""Open-loop dreams: watch some real steps, then go on with the real actions and closed eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.behaviour import Trajectory
from reverie.contracts.latent import Latent
from reverie.contracts.model import Decoder
from reverie.contracts.sampling import Sampling
from reverie.evaluation.recording import Recording

Array = NDArray[Any]


@dataclass(frozen=True)
class Dream:
    """What a model made of one recorded episode; everything has T rows, arrival-aligned with it.

    Args:
        real: the episode, T rows.
        context: rows whose observation the model saw; from here on it imagined.
        obs: raw entries that it expected, each (T, *shape): reconstructions in the context, predictions after it.
            Empty without a decoder.
        reward: (T,) expected on arrival, nan at row 0; None without a reward head.
        value: (T,) expected return from here on; None without a value head.
        cont: (T,) probability that the episode goes on, nan at row 0; None without a continue head.
    """

    real: Recording
    context: int
    obs: dict[str, Array]
    reward: Array | None
    value: Array | None
    cont: Array | None

    def __len__(self) -> int:
        return len(self.real)


def code_decoder(agent: Any) -> Decoder | None:
    """The decoder that can show a latent state: the slot `decoder`, else the first of `decoders`. One that reads the
    embedding can where the dynamics' code is such an embedding (V and M of World Models)."""
    candidates: list[Decoder] = [one for one in (agent.decoder, *agent.decoders.values()) if one is not None]
    return next((one for one in candidates if one.reads == "code" or _code_is_embedding(agent)), None)


def _code_is_embedding(agent: Any) -> bool:
    return bool(agent.dynamics.code_size == agent.encoder.embed_size)


@torch.no_grad()
def dream_of(agent: Any, recording: Recording, context: int, *, sampling: Sampling | None = None) -> Dream:
    """Filter the first `context` rows, then imagine the others from their real actions.

    Args:
        agent: an assembled `Agent`.
        recording: T rows.
        context: 1 <= context < T.
        sampling: how latents are drawn; the most likely ones by default.

    Raises:
        ValueError: if nothing is left to imagine.
    """
    if not 1 <= context < len(recording):
        raise ValueError(f"a context of {context} steps leaves nothing to imagine in an episode of {len(recording)}")
    chosen = sampling or Sampling(mode="mode")
    states, action = _states(agent, recording, context, chosen)  # (1, T)
    trajectory = Trajectory(states=states, actions=action[:, 1:])  # (1, T - 1, A)
    imagination, heads = agent.imagination, agent.heads
    return Dream(
        real=recording,
        context=context,
        obs=_decoded(agent, states),
        reward=_arrivals(imagination.rewards(trajectory)) if "reward" in heads else None,
        value=_column(imagination.value(states)) if "value" in heads else None,
        cont=_arrivals(imagination.continues(trajectory)) if "continue" in heads else None,
    )


def _states(agent: Any, recording: Recording, context: int, sampling: Sampling) -> tuple[Latent, Tensor]:
    """(1, T) latents, filtered up to the context and imagined after it, and the actions (1, T, A)."""
    obs, action, is_first = recording.tensors()
    seen = agent.preprocess({key: value[:, :context] for key, value in obs.items()})
    embed = agent.encoder(seen, sampling)  # (1, context, E)
    observed = agent.dynamics.observe(embed, action[:, :context], is_first[:, :context], sampling=sampling)
    state = observed.last  # (1,)
    imagined = []
    for step in range(context, len(recording)):
        state = agent.dynamics.imagine(state, action[:, step], sampling)  # (1,)
        imagined.append(state)
    later = type(state).stack(imagined, dim=1)  # (1, T - context)
    return type(state).cat([observed.states, later], dim=1), action


def _decoded(agent: Any, states: Latent) -> dict[str, Array]:
    """Raw entries (T, *shape) that the states stand for; empty without a decoder."""
    decoder = code_decoder(agent)
    if decoder is None:
        return {}
    expected = {key: distribution.mean for key, distribution in decoder(states.code).items()}  # (1, T, *model_shape)
    raw = {key: value[0].cpu().numpy() for key, value in agent.postprocess(expected).items()}
    return {
        key: value.round().astype(np.uint8) if agent.observation[key].is_image else value for key, value in raw.items()
    }


def _column(values: Tensor) -> Array:
    """(1, T) -> (T,)."""
    return values[0].cpu().numpy()


def _arrivals(values: Tensor) -> Array:
    """(1, T - 1), of arrivals -> (T,), nan at the first row, at which nothing arrived."""
    return np.concatenate([[np.nan], _column(values)]).astype(np.float32)
