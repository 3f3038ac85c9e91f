"""One environment under suspicion: every value is checked, every exception gets the environment, step and action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import EnvironmentFault, ReverieError
from reverie.training.snapshots import read_snapshot, write_snapshot

Array = NDArray[Any]

BOUND_TOLERANCE = 1e-5
"""Relative: a float32 cosine may be 1.0000001."""


class CheckedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Passes on what keeps to the standard form and stops at everything else.

    Infos are reduced to `frames`: the rest of Reverie reads nothing else, and they would cross process borders.

    Args:
        env: in the standard form.
        observation: names, shapes and dtypes that it must give.
        action: that it takes.
        index: its number, for messages.

    Raises:
        EnvironmentFault: from `reset` and `step`, for a value that is not finite, of the wrong shape or dtype, out of
            bounds or missing, and in place of any exception of the environment's own.
    """

    def __init__(
        self, env: gym.Env[Any, Any], observation: ObservationSpec, action: ActionSpec, index: int = 0
    ) -> None:
        super().__init__(env)
        self._observation = observation
        self._action = action
        self._index = index
        self._episode = -1
        self._step = 0
        self._last_action: Any = None
        self._shown: dict[str, Array] = {}
        self._limits = _limits(env.observation_space, observation, index)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._episode += 1
        self._step = 0
        self._last_action = None
        try:
            obs, _ = self.env.reset(seed=seed, options=options or None)
        except ReverieError:
            raise
        except Exception as error:
            raise self._fault(f"reset(seed={seed}) raised {type(error).__name__}: {error}") from error
        return self._checked(obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        self._last_action = action
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
        except ReverieError:
            raise
        except Exception as error:
            raise self._fault(f"step raised {type(error).__name__}: {error}") from error
        obs = self._checked(obs)
        number = self._number(reward)
        found = {"frames": int(info["frames"])} if "frames" in info else {}
        return obs, number, bool(terminated), bool(truncated), found

    def save_state(self) -> Any:
        """What the environment itself offers to be restored from, as plain containers; None where it offers nothing."""
        return read_snapshot(self.env)

    def restore_state(self, orders: list[Mapping[str, Any]]) -> bool:
        """Bring back the open episode that `orders[index]` describes; false where that did not work. Called right
        after a reset with the episode's seed.

        The environment's own state is preferred. Otherwise the episode is played again from its seed and actions, and
        its last observation must come out equal, bit for bit.
        """
        order = orders[self._index]
        try:
            back = order["inner"] is not None and write_snapshot(self.env, order["inner"])
            if not back:
                if order["inner"] is not None:
                    self.reset(seed=order["seed"])
                back = self._replay(order)
        except EnvironmentFault:
            back = False
        self._episode = order["episode"]
        self._step = len(order["actions"])
        return back

    def _replay(self, order: Mapping[str, Any]) -> bool:
        for action in order["actions"]:
            _, _, terminated, truncated, _ = self.step(action)
            if terminated or truncated:
                return False
        return all(np.array_equal(self._shown[key], value) for key, value in order["obs"].items())

    def _checked(self, obs: Any) -> dict[str, Array]:
        if not isinstance(obs, Mapping) or set(obs) != set(self._limits):
            given = sorted(map(str, obs)) if isinstance(obs, Mapping) else type(obs).__name__
            raise self._fault(f"the observation has entries {given}, expected {sorted(self._limits)}")
        for key, (shape, dtype, low, high) in self._limits.items():
            value = obs[key]
            if not isinstance(value, np.ndarray) or value.dtype != dtype:
                given = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
                raise self._fault(f"entry '{key}' has dtype {given}, expected {dtype}: {_brief(value)}")
            if value.shape != shape:
                raise self._fault(f"entry '{key}' has shape {value.shape}, expected {shape}: {_brief(value)}")
            if low is not None and high is not None and not ((value >= low) & (value <= high)).all():
                raise self._fault(_out_of_bounds(key, value, low, high))
        self._shown = dict(obs)
        return self._shown

    def _number(self, reward: Any) -> float:
        try:
            number = float(reward)
        except (TypeError, ValueError):
            raise self._fault(f"the reward is {_brief(reward)}, not a number") from None
        if not np.isfinite(number):
            raise self._fault(f"the reward is {number}")
        return number

    def _fault(self, what: str) -> EnvironmentFault:
        place = f"environment {self._index}, episode {self._episode}, step {self._step}"
        if self._last_action is not None:
            place += f", action {_brief(self._last_action)}"
        return EnvironmentFault(f"{place}: {what}")


Limits = tuple[tuple[int, ...], np.dtype[Any], Array | None, Array | None]


def _limits(space: gym.Space[Any], observation: ObservationSpec, index: int) -> dict[str, Limits]:
    """Shape, dtype, and bounds of every entry; images need no bounds, for every uint8 is allowed."""
    if not isinstance(space, gym.spaces.Dict) or set(space.spaces) != set(observation):
        raise EnvironmentFault(f"environment {index} has the space {space}, expected entries {list(observation)}")
    return {key: _entry_limits(space.spaces[key], spec.shape, spec.dtype) for key, spec in observation.items()}


def _entry_limits(box: gym.Space[Any], shape: tuple[int, ...], dtype: str) -> Limits:
    if dtype == "uint8" or not isinstance(box, gym.spaces.Box):
        return shape, np.dtype(dtype), None, None
    most = np.finfo(np.float32).max  # infinity is out of bounds even where there are none
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.maximum(box.low - BOUND_TOLERANCE * np.maximum(1, np.abs(box.low)), -most)
        high = np.minimum(box.high + BOUND_TOLERANCE * np.maximum(1, np.abs(box.high)), most)
    return shape, np.dtype(dtype), low.astype(np.float32), high.astype(np.float32)


def _out_of_bounds(key: str, value: Array, low: Array, high: Array) -> str:
    place = tuple(int(i) for i in np.argwhere(~((value >= low) & (value <= high)))[0])
    at = ", ".join(map(str, place))
    found = value[place]
    if not np.isfinite(found):
        return f"entry '{key}' is {found!s} at index {at}: {_brief(value)}"
    bounds = f"[{low[place]:g}, {high[place]:g}]"
    return f"entry '{key}' is {found!s} at index {at}, outside its bounds {bounds}: {_brief(value)}"


def _brief(value: Any) -> str:
    """A value as text, short enough for a message, without line breaks."""
    text = np.array2string(value, threshold=8) if isinstance(value, np.ndarray) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."
