"""The global generators of Python, NumPy and torch, as plain data."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """The states of all global generators; of a GPU's too where this process computes on one."""
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [str(name), [int(word) for word in words], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def reinstate(state: Mapping[str, Any]) -> None:
    """Undo everything since `capture`. The state of a GPU is left out where this process computes on none.

    Raises:
        ValueError: for states that are none.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    require_sound({"bit_generator": name, "state": {"pos": position}})
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"][0])


def require_sound(state: Mapping[str, Any]) -> None:
    """Refuse a state of a NumPy generator whose position lies outside of its buffer: NumPy reads there without looking.

    Args:
        state: as `bit_generator.state` gives it.

    Raises:
        ValueError: for such a one.
    """
    inner = state.get("state")
    position = inner.get("pos", 0) if isinstance(inner, Mapping) else 0
    for name, value, most in (("pos", position, 624), ("buffer_pos", state.get("buffer_pos", 0), 4)):
        if not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"{name} of a random generator is {value!r}, outside of its buffer")
