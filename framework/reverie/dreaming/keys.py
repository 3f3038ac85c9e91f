"""Keys of a person, and the actions that they stand for: the same in the terminal and in the browser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec

Array = NDArray[Any]

PAIRS = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("s", "w"), ("a", "d"))
"""Keys that push the first numbers of a continuous action down and up."""


@dataclass(frozen=True)
class Controls:
    """What each key does, by the names that browsers give to keys.

    Args:
        action: that the environment takes.
        keys: key to action (A,): pushes that add up, or a one-hot choice.
        idle: (A,), what is done where no key is held; None where that would be a choice, and time stands still.
    """

    action: ActionSpec
    keys: dict[str, Array]
    idle: Array | None

    def held(self, keys: Iterable[str]) -> Array | None:
        """The action (A,) of the keys that are held; the last choice counts, pushes add up."""
        known = [self.keys[key] for key in keys if key in self.keys]
        if not known:
            return self.idle
        total: Array = known[-1] if self.action.is_discrete else np.sum(known, axis=0).clip(-1.0, 1.0)
        return total

    def described(self) -> list[tuple[str, str]]:
        """Keys and what they do, for a person."""
        if self.action.is_discrete:
            by_choice: dict[int, list[str]] = {}
            for key, chosen in self.keys.items():
                by_choice.setdefault(int(chosen.argmax()), []).append(_shown(key))
            return [(" ".join(names), f"action {choice}") for choice, names in sorted(by_choice.items())]
        pairs = PAIRS[: self.action.size]
        return [(f"{_shown(low)} {_shown(high)}", f"action {index} −/+") for index, (low, high) in enumerate(pairs)]


def controls_of(action: ActionSpec) -> Controls:
    """Digits choose among actions, and arrows where there are two or three; pairs of keys push numbers."""
    if action.is_discrete:
        one_hot = np.eye(action.size, dtype=np.float32)
        arrows = {2: ("ArrowLeft", "ArrowRight"), 3: ("ArrowLeft", "ArrowDown", "ArrowRight")}.get(action.size, ())
        keys = {key: one_hot[choice] for choice, key in enumerate(arrows)}
        keys |= {str(choice + 1): one_hot[choice] for choice in range(min(action.size, 9))}
        return Controls(action, keys, None)
    keys = {}
    for index, pair in enumerate(PAIRS[: action.size]):
        for key, push in zip(pair, (-1.0, 1.0), strict=True):
            keys[key] = np.zeros(action.size, np.float32)
            keys[key][index] = push
    return Controls(action, keys, np.zeros(action.size, np.float32))


def _shown(key: str) -> str:
    return {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}.get(key, key)
