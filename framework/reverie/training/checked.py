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

LARGEST_REWARD = float(np.finfo(np.float32).max)
"""Rewards are kept as float32: beyond this they would be infinite."""

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
        EnvironmentFault: from `reset` and `step`, for a value that is not finite (with the values as evidence), of the
            wrong shape or dtype, out of bounds or missing, and in place of any exception of the environment's own.
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
        except Exception as error:
            raise self._fault(f"reset(seed={seed}) raised {_told(error)}") from error
        return self._checked(obs, 0.0), {}

    def begin(self, seed: int, episode: int) -> dict[str, Array]:
        """The first observation of episode number `episode`."""
        self._episode = episode - 1
        obs: dict[str, Array] = self.reset(seed=seed)[0]
        return obs

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        self._last_action = action
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            found = {"frames": int(info["frames"])} if "frames" in info else {}
            over, cut = bool(terminated), bool(truncated)
        except Exception as error:
            raise self._fault(f"step raised {_told(error)}") from error
        return self._checked(obs, reward), self._number(obs, reward), over, cut, found

    def save_state(self) -> Any:
        """What the environment itself offers to be restored from, as plain containers; None where it offers nothing."""
        return read_snapshot(self.env)

    def restore_state(self, order: Mapping[str, Any]) -> bool:
        """Bring back the open episode that `order` describes; false where that did not work.

        The environment's own state is preferred. Otherwise the episode is played again from its seed and actions, and
        its last observation must come out equal, bit for bit.
        """
        try:
            self.reset(seed=order["seed"])
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

    def _checked(self, obs: Any, reward: Any) -> dict[str, Array]:
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
                infinite = not np.isfinite(value).all()
                raise self._fault(
                    _out_of_bounds(key, value, low, high), self._evidence(obs, reward) if infinite else None
                )
        self._shown = dict(obs)
        return self._shown

    def _number(self, obs: Any, reward: Any) -> float:
        try:
            number = float(reward)
        except (TypeError, ValueError):
            raise self._fault(f"the reward is {_brief(reward)}, not a number") from None
        if not abs(number) <= LARGEST_REWARD:
            raise self._fault(f"the reward is {number}", self._evidence(obs, reward))
        return number

    def _evidence(self, obs: Mapping[str, Any], reward: Any) -> dict[str, Any]:
        action = {} if self._last_action is None else {"action": np.asarray(self._last_action)}
        return {**{f"obs.{key}": value for key, value in obs.items()}, **action, "reward": np.asarray(reward)}

    def _fault(self, what: str, evidence: Mapping[str, Any] | None = None) -> EnvironmentFault:
        return EnvironmentFault(
            f"{moment(self._index, self._episode, self._step, self._last_action)}: {what}",
            evidence=evidence,
            place=f"environment-{self._index}-episode-{self._episode}-step-{self._step}",
        )


def moment(index: int, episode: int, step: int, action: Any = None) -> str:
    """Which step of which environment, for messages."""
    after = "" if action is None else f", action {_brief(action)}"
    return f"environment {index}, episode {episode}, step {step}{after}"


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


def _told(error: Exception) -> str:
    """An environment's exception in one line. Ours speak for themselves."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, ReverieError) else f"{type(error).__name__}: {text}"


def _brief(value: Any) -> str:
    """A value as text, short enough for a message, without line breaks."""
    text = np.array2string(value, threshold=8) if isinstance(value, np.ndarray) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."
