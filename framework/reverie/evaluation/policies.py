"""Policies without a model, to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.specs import ActionSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class RandomState:
    """What a random policy remembers: the seed of each environment, and how many actions it has had.

    Args:
        seeds: (n,) int64.
        steps: (n,) int64.
    """

    seeds: Array
    steps: Array


class RandomPolicy:
    """Uniform over the actions: the policy that every learning curve starts from.

    Action k of an environment depends on its seed and on k only, not on how many environments act beside it.
    """

    def __init__(self, action: ActionSpec) -> None:
        self.action = action

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> RandomState:
        chosen = np.arange(n, dtype=np.int64) if seeds is None else np.asarray(seeds, dtype=np.int64)
        return RandomState(chosen, np.zeros(n, dtype=np.int64))

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: RandomState,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
    ) -> tuple[Array, RandomState]:
        """(n, A): uniform in [-1, 1], or one-hot with uniform choice."""
        rows = [self._draw(int(seed), int(step)) for seed, step in zip(state.seeds, state.steps, strict=True)]
        return np.stack(rows), RandomState(state.seeds, state.steps + 1)

    def _draw(self, seed: int, step: int) -> Array:
        generator = np.random.default_rng((seed, step))
        if self.action.is_discrete:
            chosen: Array = np.eye(self.action.size, dtype=np.float32)[generator.integers(self.action.size)]
            return chosen
        return generator.uniform(-1.0, 1.0, self.action.size).astype(np.float32)


class ConstantPolicy:
    """Always the same action: the middle of a continuous range (doing nothing), or one choice of a discrete set."""

    def __init__(self, action: ActionSpec, choice: int = 0) -> None:
        if action.is_discrete and not 0 <= choice < action.size:
            raise ValueError(f"choice {choice} is not one of {action.size} actions")
        self.action = action
        self.choice = choice

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> int:
        return n

    def act(
        self, obs: Mapping[str, Array | Tensor], state: int, is_first: Array | Tensor, *, explore: bool = False
    ) -> tuple[Array, int]:
        """(n, A): zeros, or the same one-hot row n times."""
        actions = np.zeros((state, self.action.size), dtype=np.float32)
        if self.action.is_discrete:
            actions[:, self.choice] = 1.0
        return actions, state
