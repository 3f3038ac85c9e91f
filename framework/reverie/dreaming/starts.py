"""Where dreams begin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.contracts.batch import Batch
from reverie.contracts.latent import Latent
from reverie.dreaming.model import DreamModel
from reverie.dreaming.options import DreamOptions
from reverie.errors import RunError
from reverie.training.replay import Replay, ReplayMark

TRIES = 1_000
"""Draws from the replay after which it holds no row that anything follows."""


class Starts:
    """Gives first states to dreams; the real environment and the replay are opened when they are first asked for.

    Args:
        model: whose states are given.
        options: of the dream.
    """

    def __init__(self, model: DreamModel, options: DreamOptions) -> None:
        self.model, self.options = model, options
        self._replay: Replay | None = None
        self._environment: Any = None

    def draw(self, randoms: Sequence[np.random.Generator], generators: Sequence[torch.Generator]) -> Latent:
        """(k,) states, each a function of its own two generators."""
        if self.options.start == "model":
            return self.model.blank(generators)
        find = self._row if self.options.start == "replay" else self._first
        found = [find(random) for random in randoms]
        states = [
            self.model.watch(batch.obs, batch.action, batch.is_first, [generator])
            for batch, generator in zip(found, generators, strict=True)
        ]
        return states[0] if len(states) == 1 else type(states[0]).cat(states)

    def close(self) -> None:
        """End the real environment, if one was made."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _row(self, random: np.random.Generator) -> Batch:
        """Rows (1, context) of the replay, the last of which is no end."""
        replay = self._opened()
        length = next(size for size in range(self.options.context, 0, -1) if replay.can_sample(1, size))
        for _ in range(TRIES):
            batch = replay.sample(1, length, random)
            if not bool(batch.is_last[0, -1]):
                return batch
        raise RunError(f"the replay of {self.model.opened.run} holds no row that another follows")

    def _first(self, random: np.random.Generator) -> Batch:
        """The first observation (1, 1) of a real episode."""
        from reverie.evaluation.episodes import checked

        if self._environment is None:
            self._environment = checked(self.model.opened.factory, 0)
        obs, _ = self._environment.reset(seed=int(random.integers(2**31)))
        return first_rows(obs, self.model.agent.action.size)

    def _opened(self) -> Replay:
        if self._replay is not None:
            return self._replay
        opened = self.model.opened
        own = opened.checkpoint.plain("process-0.pt")
        fix = "begin with start='environment' or start='model'"
        if not isinstance(own, dict) or "replay" not in own:
            raise RunError(f"{opened.run} keeps no replay, where a dream could begin; {fix}")
        folder = opened.run / "replay"
        mark = ReplayMark.from_dict(own["replay"])
        if not mark.rows or not folder.is_dir() or not any(folder.iterdir()):
            raise RunError(f"{opened.run} came without its replay, where a dream could begin; {fix}")
        agent = self.model.agent
        replay = Replay(folder, agent.observation, agent.action, mark.streams, opened.recipe.settings.replay)
        replay.restore(mark)
        self._replay = replay
        return replay


def first_rows(obs: dict[str, NDArray[Any]], size: int) -> Batch:
    """A batch (1, 1) of one observation that nothing led to."""
    no = torch.zeros(1, 1, dtype=torch.bool)
    return Batch(
        obs={key: torch.from_numpy(np.asarray(value))[None, None] for key, value in obs.items()},
        action=torch.zeros(1, 1, size),
        reward=torch.zeros(1, 1),
        is_first=~no,
        is_terminal=no,
        is_last=no,
        step_id=torch.zeros(1, 1, dtype=torch.int64),
    )


def options_of(keywords: dict[str, Any]) -> DreamOptions:
    """Options from keyword arguments.

    Raises:
        TypeError: for one that there is none of.
    """
    known = {entry.name for entry in dataclasses.fields(DreamOptions)}
    unknown = sorted(set(keywords) - known)
    if unknown:
        raise TypeError(f"a dream has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return DreamOptions(**keywords)
