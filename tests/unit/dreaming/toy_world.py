"""x' = A x + B a, reward C . x' on arrival; the task truly ends where x_0 > EDGE."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from reverie.contracts import ActionSpec, ArraySpec, EnvironmentFactory, Head, ObservationSpec, Transition

A = np.array([[1.0, 0.3], [-0.3, 0.95]])
B = np.array([[0.1], [0.6]])
C = np.array([1.0, 0.5])
EDGE = 1.5
LIMIT = 20

ACTION = ActionSpec("continuous", 1)
OBSERVATION = ObservationSpec({"state": ArraySpec((2,), "float32", -50.0, 50.0)})


class World(gym.Env[Any, Any]):
    """The world itself."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Box(-50, 50, (2,), np.float32)})
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.steps = self.np_random.uniform(-1, 1, 2), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x, self.steps = A @ self.x + B @ np.asarray(action, np.float64), self.steps + 1
        return self._seen(), float(C @ self.x), bool(self.x[0] > EDGE), self.steps >= LIMIT, {}

    def _seen(self) -> Any:
        return {"state": self.x.astype(np.float32)}


class WorldFactory(EnvironmentFactory):
    """Makes worlds. `time_limit` is in frames, of which one step takes two."""

    observation, action, action_repeat, time_limit = OBSERVATION, ACTION, 2, 2 * LIMIT

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        return World()


class Edge(Head):
    """The probability to go on: `inside` before the edge, `outside` beyond it."""

    def __init__(self, inside: float, outside: float) -> None:
        super().__init__(None, 2, ACTION)
        self.inside, self.outside = inside, outside

    def forward(self, transition: Transition) -> Any:
        assert transition.after is not None
        over = transition.after.features[..., 0] > EDGE
        return SimpleNamespace(mean=torch.where(over, self.outside, self.inside))
