"""Gymnasium's pendulum with another goal, another body or other eyes: second tasks for a world model that knows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.pendulum import PendulumEnv, angle_normalize


class PendulumTask(PendulumEnv):
    """`Pendulum-v1` rewarded for another angle, or with a heavier or longer rod; observations and actions stay.

    reward = -((angle - goal)^2 + 0.1 velocity^2 + 0.001 torque^2), with the difference of angles in [-pi, pi]

    Args:
        goal: the angle to hold, in radians from upright. The torque suffices to hold angles up to about 0.4 at rest.
        mass: of the rod, 1 in the original.
        length: of the rod, 1 in the original.
        g: gravity, 10 in the original.
        render_mode: `rgb_array` or None.
    """

    def __init__(
        self, goal: float = 0.0, mass: float = 1.0, length: float = 1.0, g: float = 10.0, render_mode: str | None = None
    ) -> None:
        if mass <= 0 or length <= 0:
            raise ValueError(f"a pendulum's mass and length are above 0, not {mass} and {length}")
        super().__init__(render_mode=render_mode, g=g)
        self.goal, self.m, self.l = goal, mass, length

    def step(self, u: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        angle, velocity = self.state
        torque = float(np.clip(u, -self.max_torque, self.max_torque)[0])
        obs, _, terminated, truncated, info = super().step(u)  # type: ignore[no-untyped-call]
        cost = angle_normalize(angle - self.goal) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2
        return obs, -float(cost), terminated, truncated, info


class PendulumAngle(PendulumTask):
    """The same body and tasks, seen otherwise: (angle, angular velocity), the angle in [-pi, pi] from upright.

    Where the rod hangs straight down, the angle jumps from one end to the other: the cosine and sine of `Pendulum-v1`
    go round without a seam.

    Args:
        options: those of `PendulumTask`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        high = np.array([np.pi, self.max_speed], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)

    def _get_obs(self) -> Any:
        angle, velocity = self.state
        return np.array([angle_normalize(angle), velocity], np.float32)
