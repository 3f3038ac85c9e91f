"""The state that an environment itself offers: `get_state()` and `set_state(state)` of the innermost environment.

Its generator `np_random`, which most such states leave out, and the steps that Gymnasium's `TimeLimit` has counted are
saved beside it. Only states made of plain containers, numbers, text, bytes and arrays are taken, since they must go
into a file that is read without pickle. A wrapper that remembers something (a stack of frames, say) would come back
empty, so every wrapper must be known to remember nothing: Gymnasium's own checks, and those with `stateless = True`.
Where any of this fails, the episode is played again from its seed instead, which brings everything back.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from reverie.training.checkpoint.randomness import require_sound


def read_snapshot(env: gym.Env[Any, Any]) -> dict[str, Any] | None:
    """The state of `env`, in containers that `torch.load(weights_only=True)` takes; None where it offers none."""
    inner: Any = env.unwrapped
    if not _offers(inner) or not all(_forgetful(wrapper) for wrapper in _wrappers(env)):
        return None
    try:
        state = _to_plain(inner.get_state())
        generator = getattr(inner, "_np_random", None)
        drawn = None if generator is None else _to_plain(generator.bit_generator.state)
    except Exception:  # noqa: BLE001 - a state of classes of its own, or an environment that cannot tell it now
        return None
    elapsed = [wrapper._elapsed_steps for wrapper in _wrappers(env) if isinstance(wrapper, TimeLimit)]
    return {"state": state, "np_random": drawn, "elapsed": elapsed}


def write_snapshot(env: gym.Env[Any, Any], snapshot: Mapping[str, Any]) -> bool:
    """Put the state back, right after a reset; false unless the environment then reports the same state."""
    inner: Any = env.unwrapped
    limits = [wrapper for wrapper in _wrappers(env) if isinstance(wrapper, TimeLimit)]
    if not _offers(inner) or len(limits) != len(snapshot["elapsed"]):
        return False
    drawn = snapshot.get("np_random")
    try:
        inner.set_state(_from_plain(snapshot["state"]))
        if drawn is not None:
            require_sound(drawn)
            inner.np_random.bit_generator.state = _from_plain(drawn)
        back = _equal(_to_plain(inner.get_state()), snapshot["state"])
    except Exception:  # noqa: BLE001 - another version of the environment, or another generator: play it again
        return False
    for wrapper, elapsed in zip(limits, snapshot["elapsed"], strict=True):
        wrapper._elapsed_steps = elapsed
    return back


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


def _wrappers(env: gym.Env[Any, Any]) -> Iterator[Any]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def _forgetful(wrapper: Any) -> bool:
    """Whether nothing is lost of a wrapper that is made anew."""
    return type(wrapper) in (OrderEnforcing, PassiveEnvChecker, TimeLimit) or bool(getattr(wrapper, "stateless", False))


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
