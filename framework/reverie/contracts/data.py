"""Recorded experience to learn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ObservationSpec


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps, as loops and data sets hold it: what was seen, what was done then, what came.

    Args:
        obs: raw entries in the standard form (float32 vectors, uint8 (H, W, C) images), each (T + 1, *shape): the
            first observation, then the one after every action.
        action: (T, A) float32 in [-1, 1], or (T,) whole numbers from 0 where actions are discrete.
        reward: (T,), that followed each action.
        terminated: its last step was a true end of the task.
        ended: false for one that was cut off in the middle, neither ended nor stopped by a limit.
    """

    obs: Mapping[str, NDArray[Any]]
    action: NDArray[Any]
    reward: NDArray[Any]
    terminated: bool
    ended: bool = True


class DataSource(ABC):
    """Gives recorded episodes. `__init__(config)`; sets the spaces that all of its episodes have.

    Episodes are read one at a time and may be read again: the same index, the same episode.
    """

    observation: ObservationSpec
    action: ActionSpec

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __len__(self) -> int:
        """How many episodes there are."""

    @abstractmethod
    def episode(self, index: int) -> Episode:
        """Episode number `index`, from 0."""
