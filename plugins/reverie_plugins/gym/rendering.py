"""Pictures of predicted observations: environments whose state can be set from what they show."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie_plugins.gym.cells import draw_cells, draw_channels
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.families import codes_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Body:
    """How to pose one family of environments.

    Args:
        labels: what each element of the observation means.
        state: from the full observation (size,) to the environment's `state`.
        drawn: elements that the picture depends on; the others may be hidden from the agent.
    """

    labels: tuple[str, ...]
    state: Callable[[Array], Array]
    drawn: tuple[int, ...]


def _angle(obs: Array, cosine: int, sine: int) -> float:
    return float(np.arctan2(obs[sine], obs[cosine]))


_MOUNTAIN_CAR = Body(("position", "velocity"), np.array, (0,))

BODIES: dict[str, Body] = {
    "CartPole": Body(("cart position", "cart velocity", "pole angle", "pole velocity"), np.array, (0, 2)),
    "Pendulum": Body(
        ("cos angle", "sin angle", "angular velocity"), lambda obs: np.array([_angle(obs, 0, 1), obs[2]]), (0, 1)
    ),
    "PendulumAngle": Body(("angle", "angular velocity"), np.array, (0,)),
    "Acrobot": Body(
        ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "angular velocity 1", "angular velocity 2"),
        lambda obs: np.array([_angle(obs, 0, 1), _angle(obs, 2, 3), obs[4], obs[5]]),
        (0, 1, 2, 3),
    ),
    "MountainCar": _MOUNTAIN_CAR,
    "MountainCarContinuous": _MOUNTAIN_CAR,
}
"""By the id without its version."""


def body_of(env_id: str) -> Body | None:
    """How to pose `env_id`, where that is known."""
    return BODIES.get(env_id.removeprefix("reverie/").rpartition("-v")[0])


def hidden_elements(config: GymConfig) -> frozenset[int] | None:
    """Elements of the entry `state` that the agent does not see; None if it sees none of them."""
    hidden = config.hidden("state") or ()
    return None if hidden == "all" else frozenset(index for index in hidden if isinstance(index, int))


def labels_of(config: GymConfig, key: str) -> Sequence[str] | None:
    """What the visible elements of an entry mean; None where that is not known."""
    body, hidden = body_of(config.id), hidden_elements(config)
    if body is None or hidden is None or key != "state":
        return None
    return [label for index, label in enumerate(body.labels) if index not in hidden]


def draw_grid(config: GymConfig, obs: Mapping[str, Array]) -> Array | None:
    """Picture (H, W, 3) uint8 of a grid world's entry `image` (H, W, C) uint8; None for other environments, and where
    the entry was changed so that it cannot be told what its channels mean."""
    image = obs.get("image")
    if image is None or image.ndim != 3 or config.pixels is not None or config.image_size is not None or config.grey:
        return None
    shares = np.asarray(image, np.float32) / 255
    if config.id.startswith("MinAtar/"):
        return draw_channels(shares)
    if config.id.startswith(("MiniGrid-", "BabyAI-")) and codes_of(config).get("image", ())[:2] == (11, 6):
        return draw_cells(shares)
    return None


class Poser:
    """Draws observations of one environment by setting its state. Keeps one environment open until `close`."""

    def __init__(self, config: GymConfig) -> None:
        self.config = config
        self.body = body_of(config.id)
        self.hidden = hidden_elements(config)
        self._environment: Any = None

    @property
    def able(self) -> bool:
        """Whether pictures can be drawn: the pose is known and none of what it needs is hidden."""
        return self.body is not None and self.hidden is not None and not self.hidden & set(self.body.drawn)

    def draw(self, obs: Mapping[str, Array]) -> Array | None:
        """Visible entries -> picture (H, W, 3) uint8; None where it cannot be drawn or is not finite."""
        if self.body is None or self.hidden is None or not self.able or "state" not in obs:
            return None
        full = np.zeros(len(self.body.labels))
        full[[index for index in range(len(full)) if index not in self.hidden]] = obs["state"]
        if not np.isfinite(full).all():
            return None
        if self._environment is None:
            if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
                os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # or SDL complains aloud that there is no screen
            self._environment = gym.make(
                self.config.id, render_mode="rgb_array", disable_env_checker=True, **self.config.kwargs
            ).unwrapped
            self._environment.reset(seed=0)
        self._environment.state = self.body.state(full)
        return np.asarray(self._environment.render())

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None
