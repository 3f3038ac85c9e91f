"""State of a user's own Lightning callbacks, as it travels in our checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Tensor, nn

DEEPEST = 32
"""Levels of containers in the state of one callback."""

_SCALARS = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)


class NotPlain(Exception):
    """Something in a state could not be read again without running code."""


class CallbackStates:
    """Saves and restores what callbacks give by `state_dict()`, by Lightning's own keys.

    Only plain values are saved (numbers, text, tensors, and containers of them): everything else would be a pickle.

    Args:
        say: tells a person something.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._left_out: set[str] = set()
        self._unclaimed: dict[str, Any] = {}

    def capture(self, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """The state of each that has one. What cannot be saved is left out, and told once."""
        found = dict(self._unclaimed)
        for callback in callbacks:
            try:
                state = plain_copy(callback.state_dict())
            except NotPlain as fault:
                self._tell_left_out(callback.state_key, str(fault))
                continue
            if state:
                found[callback.state_key] = state
        return found

    def restore(self, callbacks: Sequence[Callback], states: Mapping[str, Any]) -> None:
        """Give each its state back. States of callbacks that are not here stay in the checkpoints to come."""
        waiting = dict(states)
        for callback in callbacks:
            state = waiting.pop(callback.state_key, None)
            if state:
                callback.load_state_dict(state)
        self._unclaimed = waiting
        for key in waiting:
            self.say(f"the callback {key} is not here: its state is kept, but nothing uses it")

    def _tell_left_out(self, key: str, why: str) -> None:
        if key not in self._left_out:
            self._left_out.add(key)
            self.say(f"the state of the callback {key} is not saved, it begins anew when the run is resumed: {why}")


def plain_copy(value: Any, path: str = "state_dict()", depth: int = 0) -> Any:
    """The same value in containers of its own, so that no part is shared with what changes later.

    Raises:
        NotPlain: naming the entry and its type, for anything but tensors, plain containers, numbers and text.
    """
    if depth > DEEPEST:
        raise NotPlain(f"{path[:100]} is nested deeper than {DEEPEST} levels")
    if type(value) in _SCALARS:
        return value
    if type(value) in (Tensor, nn.Parameter):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if type(value) in (dict, OrderedDict):
        return {
            plain_copy(key, f"a key of {path}", depth + 1): plain_copy(part, f"{path}[{key!r}]", depth + 1)
            for key, part in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(plain_copy(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value))
    raise NotPlain(f"{path[:100]} is a {type(value).__module__}.{type(value).__qualname__}, which is no plain value")
