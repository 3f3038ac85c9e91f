"""Environments with known answers: one that proves alignment, small ones to learn on, and ones that misbehave.

Third parties use the alignment environment to check a collector, a replay or a batch of their own:
`alignment_errors(batch_columns, action)` lists every index at which something is off.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec

__all__ = [
    "AlignmentFactory",
    "DictFactory",
    "Fault",
    "FaultyFactory",
    "ImageFactory",
    "alignment_errors",
    "echo",
    "plan_of",
]

Array = NDArray[Any]
Observation = dict[str, Array]
Info = dict[str, Any]

NAMES = 1000
"""Episodes of the alignment environment are called 0 ... 999; rewards are `name * 100 + step`, exact in float32."""


def echo(action: Array) -> Array:
    """f of o_t = f(a_{t-1}): what the alignment environment shows for an action (..., A). Not 0 for action 0."""
    return np.asarray(0.25 + 0.5 * np.asarray(action, np.float32)[..., ::-1], np.float32)


def plan_of(name: int) -> tuple[int, bool]:
    """Length in steps of the episode called `name`, and whether it ends truly rather than by a limit."""
    return 3 + (7 * name) % 5, name % 2 == 0


class AlignmentEnv(gym.Env[Any, Any]):
    """o_t = f(a_{t-1}), and rewards that name their episode and step.

    Observation `echo` (A,) is `echo(action)` of the action just taken, zeros after a reset; `clock` (2,) is the name of
    the episode and the step. The reward is `name * 100 + step`. Lengths differ; even names end truly, odd ones by a
    limit. Everything follows from the reset seed.
    """

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        size = action.size
        self.observation_space = gym.spaces.Dict(
            {
                "echo": gym.spaces.Box(-1, 1, (size,), np.float32),
                "clock": gym.spaces.Box(0, NAMES, (2,), np.float32),
            }
        )
        self.action_space = (
            gym.spaces.Discrete(size) if action.is_discrete else gym.spaces.Box(-1, 1, (size,), np.float32)
        )
        self._name = self._step = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._name, self._step = int(self.np_random.integers(NAMES)), 0
        return self._observe(np.zeros(self.action.size, np.float32)), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        self._step += 1
        vector = np.eye(self.action.size, dtype=np.float32)[int(action)] if self.action.is_discrete else action
        length, truly = plan_of(self._name)
        over = self._step == length
        return self._observe(echo(vector)), float(self._name * 100 + self._step), over and truly, over and not truly, {}

    def _observe(self, shown: Array) -> Observation:
        return {"echo": shown, "clock": np.array([self._name, self._step], np.float32)}


class AlignmentFactory(EnvironmentFactory):
    """Makes alignment environments.

    Args:
        config: unused; factories are built from one.
        kind: of the actions.
        size: of the actions.
    """

    def __init__(
        self, config: Any = None, *, kind: Literal["continuous", "discrete"] = "continuous", size: int = 3
    ) -> None:
        super().__init__(config)
        self.action = ActionSpec(kind, size)
        self.observation = ObservationSpec(
            {"echo": ArraySpec((size,), "float32", -1, 1), "clock": ArraySpec((2,), "float32", 0, NAMES)}
        )

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        return AlignmentEnv(self.action)


def alignment_errors(columns: Mapping[str, Array]) -> list[str]:
    """Check rows of the alignment environment at every index.

    Args:
        columns: `echo`, `clock`, `action`, `reward`, `is_first`, `is_terminal`, `is_last`: each (T, ...), consecutive
            rows of one stream, or one row of a batch.

    Returns:
        One line per index and property that is wrong; empty when everything is aligned.
    """
    return [f"index {t}: {error}" for t in range(len(columns["reward"])) for error in _errors_at(columns, t)]


def _errors_at(columns: Mapping[str, Array], t: int) -> list[str]:
    found: list[str] = []

    def expect(name: str, given: Any, wanted: Any) -> None:
        if not np.array_equal(np.asarray(given), np.asarray(wanted)):
            found.append(f"{name} is {np.asarray(given).tolist()}, expected {np.asarray(wanted).tolist()}")

    name, step = (int(number) for number in columns["clock"][t])
    action, first = columns["action"][t], bool(columns["is_first"][t])
    length, truly = plan_of(name)
    expect("is_first", first, step == 0)
    expect("echo", columns["echo"][t], np.zeros_like(action) if first else echo(action))
    expect("reward", columns["reward"][t], 0 if first else name * 100 + step)
    expect("is_last", columns["is_last"][t], step == length)
    expect("is_terminal", columns["is_terminal"][t], step == length and truly)
    if first:
        expect("action", action, np.zeros_like(action))
    if t > 0 and first:
        expect("is_last of the row before a first one", columns["is_last"][t - 1], True)
    elif t > 0:
        expect("clock after the row before", columns["clock"][t], columns["clock"][t - 1] + [0, 1])
    return found


class _PointMass(gym.Env[Any, Any]):
    """A point on a line, pushed by an action in [-1, 1]; the reward is minus its distance from the middle."""

    def __init__(self, observe: Callable[[float, float], Observation], space: gym.spaces.Dict, limit: int) -> None:
        self.observation_space = space
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self._observe = observe
        self._limit = limit
        self._position = self._velocity = 0.0
        self._step = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._position, self._velocity, self._step = float(self.np_random.uniform(-1, 1)), 0.0, 0
        return self._observe(self._position, self._velocity), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        self._velocity = 0.9 * self._velocity + 0.1 * float(action[0])
        self._position = min(1.0, max(-1.0, self._position + self._velocity))
        self._step += 1
        return self._observe(self._position, self._velocity), -abs(self._position), False, self._step == self._limit, {}


def _bar(position: float, size: int) -> Array:
    """(size, size, 3) uint8: a white bar at the position."""
    image = np.zeros((size, size, 3), np.uint8)
    column = round((position + 1) / 2 * (size - 2))
    image[:, column : column + 2] = 255
    return image


class ImageFactory(EnvironmentFactory):
    """A point on a line, seen as a picture only: tens of thousands of frames a second.

    Args:
        config: unused; factories are built from one.
        size: pixels on each side.
        limit: steps of an episode.
    """

    def __init__(self, config: Any = None, *, size: int = 16, limit: int = 25) -> None:
        super().__init__(config)
        self.action = ActionSpec("continuous", 1)
        self.observation = ObservationSpec({"image": ArraySpec((size, size, 3), "uint8", 0, 255)})
        self.size = size
        self.limit = limit

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        size = self.size
        space = gym.spaces.Dict({"image": gym.spaces.Box(0, 255, (size, size, 3), np.uint8)})
        return _PointMass(lambda position, velocity: {"image": _bar(position, size)}, space, self.limit)


class DictFactory(EnvironmentFactory):
    """The same point as two vectors, `position` (1,) and `motion` (2,), and a small picture `camera`.

    Args:
        config: unused; factories are built from one.
        size: pixels on each side of `camera`.
        limit: steps of an episode.
    """

    def __init__(self, config: Any = None, *, size: int = 8, limit: int = 25) -> None:
        super().__init__(config)
        self.action = ActionSpec("continuous", 1)
        self.observation = ObservationSpec(
            {
                "camera": ArraySpec((size, size, 3), "uint8", 0, 255),
                "motion": ArraySpec((2,), "float32"),
                "position": ArraySpec((1,), "float32", -1, 1),
            }
        )
        self.size = size
        self.limit = limit

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        size = self.size
        space = gym.spaces.Dict(
            {
                "camera": gym.spaces.Box(0, 255, (size, size, 3), np.uint8),
                "motion": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
                "position": gym.spaces.Box(-1, 1, (1,), np.float32),
            }
        )

        def observe(position: float, velocity: float) -> Observation:
            return {
                "camera": _bar(position, size),
                "motion": np.array([velocity, abs(velocity)], np.float32),
                "position": np.array([position], np.float32),
            }

        return _PointMass(observe, space, self.limit)


FaultKind = Literal[
    "nan", "inf", "shape", "dtype", "bounds", "missing", "reward", "raise_step", "raise_reset", "sleep", "kill", "exit"
]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    Args:
        kind: what happens.
        step: in this step of the faulty episode (for `raise_reset`: at its reset).
        episode: counted from 0 in each environment.
        index: which environment; the others behave.
        seconds: how long `sleep` takes.
    """

    kind: FaultKind
    step: int = 3
    episode: int = 0
    index: int = 0
    seconds: float = 3600.0


class FaultyEnv(gym.Env[Any, Any]):
    """Keeps to the standard form until its fault is due. Observation `state` (3,) in [-10, 10]; ends after `limit`."""

    def __init__(self, fault: Fault | None, limit: int) -> None:
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Box(-10, 10, (3,), np.float32)})
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self._fault = fault
        self._limit = limit
        self._episode, self._step = -1, 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._episode += 1
        self._step = 0
        if self._fault is not None and self._fault.kind == "raise_reset" and self._fault.episode == self._episode:
            raise RuntimeError("the simulator did not come up")
        return {"state": self.np_random.uniform(-1, 1, 3).astype(np.float32)}, {}

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        self._step += 1
        state: Any = np.full(3, self._step / 100, np.float32)
        reward: Any = 1.0
        fault = self._fault
        if fault is not None and (fault.episode, fault.step) == (self._episode, self._step):
            state, reward = _misbehave(fault, state)
        observation = {} if state is None else {"state": state}
        return observation, reward, False, self._step == self._limit, {}


def _misbehave(fault: Fault, state: Array) -> tuple[Any, Any]:
    """The observation (None: missing) and reward of a faulty step, if it comes to an end at all."""
    wrong: dict[str, Any] = {
        "nan": np.array([0, np.nan, 0], np.float32),
        "inf": np.array([0, 0, np.inf], np.float32),
        "shape": np.zeros(4, np.float32),
        "dtype": np.zeros(3, np.float64),
        "bounds": np.array([11, 0, 0], np.float32),
        "missing": None,
    }
    if fault.kind in wrong:
        return wrong[fault.kind], 1.0
    if fault.kind == "reward":
        return state, float("nan")
    if fault.kind == "raise_step":
        raise ZeroDivisionError("the simulator divided by zero")
    if fault.kind == "sleep":
        time.sleep(fault.seconds)
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.kind == "exit":
        os._exit(3)
    return state, 1.0


class FaultyFactory(EnvironmentFactory):
    """Makes environments of which one misbehaves.

    `kill` and `exit` end the process that the environment is in: use them with worker processes only.

    Args:
        config: unused; factories are built from one.
        fault: what goes wrong, where and when; None for environments that behave.
        limit: steps of an episode.
    """

    def __init__(self, config: Any = None, *, fault: Fault | None = None, limit: int = 10) -> None:
        super().__init__(config)
        self.action = ActionSpec("continuous", 2)
        self.observation = ObservationSpec({"state": ArraySpec((3,), "float32", -10, 10)})
        self.fault = fault
        self.limit = limit

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        mine = self.fault is not None and self.fault.index == index
        return FaultyEnv(self.fault if mine else None, self.limit)
