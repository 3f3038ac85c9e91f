"""The spaces of dreams and of the real environments beside them: equal, so that a policy passes between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import ReverieError

Array = NDArray[Any]


def observation_space(observation: ObservationSpec) -> spaces.Space[Any]:
    """A `Dict` of the entries; the entry's own `Box` where there is only one."""
    boxes = {key: _box(spec) for key, spec in observation.items()}
    return next(iter(boxes.values())) if len(boxes) == 1 else spaces.Dict(boxes)  # type: ignore[arg-type]


def shown(entries: Mapping[str, Array]) -> Any:
    """Entries as the space holds them."""
    return dict(entries) if len(entries) != 1 else next(iter(entries.values()))


def latent_space(size: int) -> spaces.Box:
    """Features of latent states."""
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def action_space(action: ActionSpec) -> spaces.Space[Any]:
    """Actions as components see them: one choice, or numbers in [-1, 1]."""
    return spaces.Discrete(action.size) if action.is_discrete else spaces.Box(-1.0, 1.0, (action.size,), np.float32)


def encoded(actions: Any, action: ActionSpec, rows: int) -> Array:
    """(n,) choices or (n, A) numbers -> (n, A) float32 as components see them; numbers are clipped to [-1, 1].

    Raises:
        ReverieError: for actions of another shape, choices that there are none of, or numbers that are not finite.
    """
    if action.is_discrete:
        chosen = np.asarray(actions).reshape(-1)
        if len(chosen) != rows or not np.issubdtype(chosen.dtype, np.integer):
            raise ReverieError(f"an action is one whole number for each of {rows} dreams, not {actions!r}")
        if (chosen < 0).any() or (chosen >= action.size).any():
            raise ReverieError(f"an action lies in 0 ... {action.size - 1}, not {chosen.tolist()}")
        one_hot: Array = np.eye(action.size, dtype=np.float32)[chosen]  # (n, A)
        return one_hot
    numbers = np.asarray(actions, np.float32)
    if numbers.size != rows * action.size or not np.isfinite(numbers).all():
        raise ReverieError(f"an action is {action.size} finite numbers for each of {rows} dreams, not {actions!r}")
    return numbers.reshape(rows, action.size).clip(-1.0, 1.0)


def _box(spec: ArraySpec) -> spaces.Box:
    if spec.is_image:
        return spaces.Box(0, 255, spec.shape, np.uint8)
    return spaces.Box(spec.low, spec.high, spec.shape, np.float32)
