"""A world model stepped like an environment: n dreams side by side, each with noise of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.behaviour import Trajectory
from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Sampling
from reverie.errors import NumericalFault, RunError
from reverie.evaluation.dreaming import code_decoder
from reverie.evaluation.reopen import Opened
from reverie.evaluation.world_model.discounts import discounts_of

Array = NDArray[Any]

LIMIT_WITHOUT_ONE = 1_000
"""Steps of a dream whose environment has no time limit."""


@dataclass(frozen=True)
class Dreamt:
    """One step of n dreams.

    Args:
        state: (n,) latents after it.
        reward: (n,) that the model expects; nan without a reward head.
        goes_on: (n,) probability that the episode goes on; 1 without a continue head.
    """

    state: Latent
    reward: Array
    goes_on: Array


class DreamModel:
    """The world model of a run, stepped without gradients.

    Args:
        opened: the run.
        temperature: of everything that the model draws.
    """

    def __init__(self, opened: Opened, temperature: float = 1.0) -> None:
        self.opened = opened
        self.agent = opened.agent
        self.temperature = temperature
        learners = [choice.config for choice in opened.recipe.group("learners").values()]
        self._certain = discounts_of(learners).cont  # what a certain "goes on" was trained to be
        self._decoder = code_decoder(self.agent)

    @property
    def decodes(self) -> bool:
        """Whether states can be shown as observations."""
        return self._decoder is not None

    @property
    def rewards(self) -> bool:
        """Whether the model expects rewards."""
        return "reward" in self.agent.heads

    @property
    def time_limit(self) -> int:
        """Agent steps of the real environment's episodes, where it says so."""
        factory = self.opened.factory
        frames = getattr(factory, "time_limit", None)
        return max(1, -(-frames // factory.action_repeat)) if frames else LIMIT_WITHOUT_ONE

    def sampling(self, generators: Sequence[torch.Generator]) -> Sampling:
        """Draws at the dream's temperature, from one generator per dream."""
        return Sampling("sample", self.temperature, list(generators))

    @torch.inference_mode()
    def blank(self, generators: Sequence[torch.Generator]) -> Latent:
        """(n,) states in which the model itself begins, knowing nothing."""
        return self._embodied(self.agent.dynamics.initial(len(generators)), generators)

    @torch.inference_mode()
    def watch(
        self,
        obs: dict[str, Tensor],
        action: Tensor,
        is_first: Tensor,
        generators: Sequence[torch.Generator],
        state: Latent | None = None,
    ) -> Latent:
        """Filter raw entries (n, T, *shape) and actions (n, T, A): (n,) states that have seen them.

        Args:
            is_first: (n, T); without `state` the first row counts as first, whatever led to it.
            state: (n,) before these rows.
        """
        device = self.agent.anchor.device
        first = is_first.clone()
        if state is None:
            first[:, 0] = True
        sampling = Sampling("sample", 1.0, list(generators))  # what was really seen is not stirred up
        seen = self.agent.preprocess({key: value.to(device) for key, value in obs.items()})
        embed = self.agent.encoder(seen, sampling)  # (n, T, E)
        moved = action.to(device, embed.dtype)
        last = self.agent.dynamics.observe(embed, moved, first.to(device), state, sampling=sampling).last
        return last if state is not None else self._embodied(last, generators)

    @torch.inference_mode()
    def step(self, state: Latent, action: Array, generators: Sequence[torch.Generator]) -> Dreamt:
        """Imagine one step of (n,) states under (n, A) actions as components see them."""
        agent = self.agent
        chosen = torch.as_tensor(action, device=agent.anchor.device).to(agent.anchor.dtype)
        after = agent.dynamics.imagine(state, chosen, self.sampling(generators))
        trajectory = Trajectory(states=type(state).stack([state, after], 1), actions=chosen[:, None])
        imagination = agent.imagination
        reward = _column(imagination.rewards(trajectory)) if self.rewards else np.full(len(action), np.nan)
        goes_on = np.clip(_column(imagination.continues(trajectory)) / self._certain, 0.0, 1.0)
        if not np.isfinite(goes_on).all() or (self.rewards and not np.isfinite(reward).all()):
            raise NumericalFault(f"the model of {self.opened.run} dreamed of a reward or an end that is not finite")
        return Dreamt(after, reward, goes_on)

    @torch.inference_mode()
    def decoded(self, state: Latent) -> dict[str, Array]:
        """Entries (n, *shape) in the environment's units and within its bounds.

        Raises:
            RunError: if the recipe has no decoder.
            NumericalFault: if the model shows numbers that are not finite.
        """
        if self._decoder is None:
            raise RunError(f"{self.opened.run} has no decoder, so its dream cannot be shown; use observation='latent'")
        expected = {key: distribution.mean for key, distribution in self._decoder(state.code).items()}
        shown = {}
        for key, value in self.agent.postprocess(expected).items():
            spec, array = self.agent.observation[key], value.cpu().numpy()
            if not np.isfinite(array).all():
                raise NumericalFault(f"the model of {self.opened.run} dreamed of a '{key}' that is not finite")
            shown[key] = array.round().astype(np.uint8) if spec.is_image else array.clip(spec.low, spec.high)
        return shown

    @torch.inference_mode()
    def features(self, state: Latent) -> Array:
        """(n, F) float32: what actors and heads read."""
        found: Array = state.features.float().cpu().numpy()
        return found

    def _embodied(self, state: Latent, generators: Sequence[torch.Generator]) -> Latent:
        """The same states; in an ensemble, each dream follows a member of its own, drawn at its start."""
        members = self.agent.dynamics.members or 1
        if members == 1:
            return state
        copies: Latent = self.agent.dynamics.branch(state, members)  # (n * M,)
        chosen = [
            row * members + int(torch.randint(members, (1,), generator=generator))
            for row, generator in enumerate(generators)
        ]
        return copies[torch.tensor(chosen, device=state.device)]


def put_rows(state: Latent, rows: Array, fresh: Latent) -> Latent:
    """The (n,) states with those of `rows` (k,) replaced by (k,) others."""
    mine, theirs = state.tensors(), fresh.tensors()
    index = torch.from_numpy(rows).to(state.device)
    return type(state)(**{name: value.clone().index_copy_(0, index, theirs[name]) for name, value in mine.items()})


def _column(values: Tensor) -> Array:
    """(n, 1) -> (n,) float64."""
    column: Array = values[:, 0].double().cpu().numpy()
    return column
