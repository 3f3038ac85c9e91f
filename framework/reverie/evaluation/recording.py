"""Episodes that are kept, row by row: what a dream is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.policy import Policy
from reverie.evaluation.episodes import Arrival, Mode, play

Array = NDArray[Any]


@dataclass(frozen=True)
class Recording:
    """One episode from its reset on, arrival-aligned like a `Batch` of one.

    Args:
        obs: raw entries, each (T, *shape).
        action: (T, A); zeros at the first row.
        reward: (T,); 0 at the first row.
        is_terminal: (T,) bool.
        seed: that the episode was reset with.
    """

    obs: dict[str, Array]
    action: Array
    reward: Array
    is_terminal: Array
    seed: int

    def __len__(self) -> int:
        return len(self.reward)

    def head(self, rows: int) -> Recording:
        """The first rows."""
        return Recording(
            {key: value[:rows] for key, value in self.obs.items()},
            self.action[:rows],
            self.reward[:rows],
            self.is_terminal[:rows],
            self.seed,
        )

    def tensors(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """obs (1, T, *shape), action (1, T, A), is_first (1, T)."""
        obs = {key: torch.from_numpy(value)[None] for key, value in self.obs.items()}
        is_first = torch.zeros(1, len(self), dtype=torch.bool)
        is_first[:, 0] = True
        return obs, torch.from_numpy(self.action)[None], is_first


def record(
    policy: Policy,
    factory: EnvironmentFactory,
    seeds: Sequence[int],
    *,
    mode: Mode = "mode",
    explore: bool = False,
    max_steps: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Recording]:
    """Play one episode per seed, side by side, and keep every row. `max_steps` cuts long ones short (not terminal)."""
    recorder = Recorder(seeds)
    play(
        policy,
        factory,
        seeds,
        mode=mode,
        explore=explore,
        max_steps=max_steps,
        should_stop=should_stop,
        watch=recorder.watch,
    )
    return recorder.recordings()


class Recorder:
    """Keeps every row of episodes that are played anyway: pass `watch` to `play` or `evaluate`."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = list(seeds)
        self._arrivals: list[list[Arrival]] = [[] for _ in self._seeds]

    def watch(self, arrival: Arrival) -> None:
        """Keep one row."""
        self._arrivals[arrival.row].append(arrival)

    def recordings(self) -> list[Recording]:
        """The episodes, in the order of the seeds, once all are over."""
        return [_recording(rows, seed) for rows, seed in zip(self._arrivals, self._seeds, strict=True)]


def _recording(rows: Sequence[Arrival], seed: int) -> Recording:
    return Recording(
        obs={key: np.stack([row.obs[key] for row in rows]) for key in rows[0].obs},
        action=np.stack([row.action for row in rows]),
        reward=np.array([row.reward for row in rows], dtype=np.float32),
        is_terminal=np.array([row.is_terminal for row in rows]),
        seed=int(seed),
    )
