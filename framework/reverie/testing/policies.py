"""Policies with known answers, for tests of whatever collects with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.specs import ActionSpec

__all__ = ["CountingPolicy", "CountingState"]

Array = NDArray[Any]


@dataclass(frozen=True)
class CountingState:
    """The memory of n environments.

    Args:
        seeds: (n,) int64.
        steps: (n,) int64, calls of `act` so far.
        age: (n,) int64, calls since `is_first`.
    """

    seeds: Tensor
    steps: Tensor
    age: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"seeds": self.seeds, "steps": self.steps, "age": self.age}


class CountingPolicy:
    """Draws actions from (seed, step) of each environment, as an `Agent` does, and counts what it is shown.

    Args:
        action: of the environments.
    """

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        self.seen: list[dict[str, Array]] = []
        self.calls: list[tuple[str, bool, list[bool]]] = []

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> CountingState:
        chosen = torch.tensor(list(range(n)) if seeds is None else list(seeds), dtype=torch.int64)
        return CountingState(chosen, torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64))

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: CountingState,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
        who: Literal["planner", "actor"] = "planner",
    ) -> tuple[Array, CountingState]:
        first = torch.as_tensor(is_first)
        self.calls.append((who, explore, first.tolist()))
        keys = zip(state.seeds.tolist(), state.steps.tolist(), strict=True)
        actions = np.stack([self._draw(seed, step) for seed, step in keys])  # (n, A)
        age = torch.where(first, torch.ones_like(state.age), state.age + 1)
        return actions, replace(state, steps=state.steps + 1, age=age)

    def update_statistics(self, obs: Mapping[str, Array | Tensor]) -> None:
        self.seen.append({key: np.array(value) for key, value in obs.items()})

    def state_from(self, tensors: Mapping[str, Tensor]) -> CountingState:
        return CountingState(tensors["seeds"], tensors["steps"], tensors["age"])

    def _draw(self, seed: int, step: int) -> Array:
        generator = np.random.default_rng([seed, step])
        if self.action.is_discrete:
            hot: Array = np.eye(self.action.size, dtype=np.float32)[generator.integers(self.action.size)]
            return hot
        return generator.uniform(-1, 1, self.action.size).astype(np.float32)
