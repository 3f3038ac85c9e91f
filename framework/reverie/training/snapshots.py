"""The state that an environment itself offers: `get_state()` and `set_state(state)` of the innermost environment.

Wrappers that count steps (Gymnasium's `TimeLimit`) are saved beside it. Only states made of plain containers, numbers,
text, bytes and arrays are taken, since they must go into a file that is read without pickle.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch


def read_snapshot(env: gym.Env[Any, Any]) -> dict[str, Any] | None:
    """The state of `env`, in containers that `torch.load(weights_only=True)` takes; None where it offers none."""
    inner: Any = env.unwrapped
    if not _offers(inner):
        return None
    try:
        return {"state": _to_plain(inner.get_state()), "elapsed": [wrapper._elapsed_steps for wrapper in _limits(env)]}
    except TypeError:
        return None  # a state of classes of its own: the episode is played again instead


def write_snapshot(env: gym.Env[Any, Any], snapshot: Mapping[str, Any]) -> bool:
    """Put the state back; false unless the environment then reports the same state."""
    inner: Any = env.unwrapped
    limits = list(_limits(env))
    if not _offers(inner) or len(limits) != len(snapshot["elapsed"]):
        return False
    inner.set_state(_from_plain(snapshot["state"]))
    for wrapper, elapsed in zip(limits, snapshot["elapsed"], strict=True):
        wrapper._elapsed_steps = elapsed
    return _equal(_to_plain(inner.get_state()), snapshot["state"])


def _offers(inner: Any) -> bool:
    """Both methods exist and take what they should (MuJoCo's `set_state(qpos, qvel)` is another one)."""
    getter, setter = getattr(inner, "get_state", None), getattr(inner, "set_state", None)
    if not (callable(getter) and callable(setter)):
        return False
    return _required(getter) == 0 and _required(setter) == 1


def _required(function: Any) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(one.kind in kinds and one.default is inspect.Parameter.empty for one in parameters)


def _limits(env: gym.Env[Any, Any]) -> Iterator[Any]:
    while isinstance(env, gym.Wrapper):
        if hasattr(env, "_elapsed_steps") and "_elapsed_steps" in vars(env):
            yield env
        env = env.env


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise TypeError(f"{type(value).__name__} cannot be saved without pickle")


def _from_plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, Mapping):
        return {key: _from_plain(part) for key, part in value.items()}
    return [_from_plain(part) for part in value] if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping) and set(one) == set(other) and all(_equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
