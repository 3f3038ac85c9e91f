"""CartPole drawn by a small rasteriser, and CartPole as a dictionary: environments that need nothing but NumPy.

Gymnasium's own drawing of CartPole, reduced to 64 x 64, gives about two hundred frames a second. This one draws
straight into a small image and gives thousands. One picture shows positions and no velocities.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray

Array = NDArray[Any]

BACKGROUND, TRACK, CART, POLE = (
    np.array(colour, np.float32) for colour in ((24, 28, 40), (90, 96, 110), (80, 160, 230), (235, 150, 60))
)
HALF_TRACK = 2.4  # the cart may not leave +-2.4


class Rasteriser:
    """Draws a cart with a pole, anti-aliased, as (size, size, 3) uint8.

    The camera shows +-2.4 of the track across the whole width. Edges are shaded by their distance to the pixel's
    centre, so that a movement of a tenth of a pixel changes the picture.
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self._ground = 0.8 * size  # row of the track
        self._cart = 0.09 * size, 0.05 * size  # half width, half height
        self._pole = 0.45 * size, 0.03 * size  # length, half width
        centres = np.arange(size, dtype=np.float32) + 0.5
        self._x, self._y = centres[None, :], centres[:, None]
        self._backdrop = np.broadcast_to(BACKGROUND, (size, size, 3)).copy()
        track = np.clip(1.0 - np.abs(self._y - self._ground) + 0.5, 0, 1) * np.ones_like(self._x)
        _paint(self._backdrop, track, TRACK)

    def draw(self, position: float, angle: float) -> Array:
        """The cart at `position` (metres), the pole leaning by `angle` (radians, clockwise)."""
        image = self._backdrop.copy()
        middle = (position / (2 * HALF_TRACK) + 0.5) * self.size
        top = self._ground - self._cart[1]
        across, up = self._x - middle, self._ground - self._y  # (1, size), (size, 1)
        _paint(image, _inside(np.abs(across), self._cart[0]) * _inside(np.abs(up), self._cart[1]), CART)
        up = top - self._y
        sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
        along = across * sine + up * cosine  # (size, size): distance along the pole from its foot
        aside = across * cosine - up * sine
        length, width = self._pole
        shade = _inside(np.abs(aside), width) * _inside(np.abs(along - length / 2), length / 2)
        _paint(image, shade, POLE)
        return image.astype(np.uint8)


def _inside(distance: Array, half: float) -> Array:
    """1 within `half`, 0 beyond, and a ramp of one pixel between."""
    return np.clip(np.float32(half + 0.5) - distance, 0, 1)


def _paint(image: Array, shade: Array, colour: Array) -> None:
    """Blend `colour` into the part of `image` (H, W, 3) that `shade` (H, W) touches."""
    rows, columns = np.flatnonzero(shade.any(axis=1)), np.flatnonzero(shade.any(axis=0))
    if not len(rows) or not len(columns):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image[part] += shade[part][:, :, None] * (colour - image[part])


class CartPolePixels(gym.Env[Array, Any]):
    """CartPole whose observation is a picture (size, size, 3): velocities must be remembered.

    Args:
        size: pixels on each side.
        render_mode: `rgb_array` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, size: int = 64, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._cartpole: Any = CartPoleEnv()
        self._rasteriser = Rasteriser(size)
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._cartpole.reset(seed=seed, options=options)
        return self._picture(), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, _ = self._cartpole.step(int(action))
        return self._picture(), float(reward), terminated, truncated, {}

    def render(self) -> Array:
        return self._picture()

    def _picture(self) -> Array:
        state = self._cartpole.state
        assert state is not None
        return self._rasteriser.draw(float(state[0]), float(state[2]))


class CartPoleDict(gym.Env[Any, Any]):
    """CartPole as a dictionary of two vectors and a small picture: `cart` (position, velocity), `pole` (angle,
    angular velocity) and `camera` (size, size, 3).

    Args:
        size: pixels on each side of `camera`.
        render_mode: `rgb_array` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, size: int = 32, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._cartpole: Any = CartPoleEnv()
        self._rasteriser = Rasteriser(size)
        vector = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        camera = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.observation_space = gym.spaces.Dict({"cart": vector, "pole": vector, "camera": camera})
        self.action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        super().reset(seed=seed)
        state, _ = self._cartpole.reset(seed=seed, options=options)
        return self._shown(state), {}

    def step(self, action: int) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        state, reward, terminated, truncated, _ = self._cartpole.step(int(action))
        return self._shown(state), float(reward), terminated, truncated, {}

    def render(self) -> Array:
        return self._shown(np.array(self._cartpole.state, np.float32))["camera"]

    def _shown(self, state: Array) -> dict[str, Array]:
        camera = self._rasteriser.draw(float(state[0]), float(state[2]))
        return {"cart": state[:2].copy(), "pole": state[2:].copy(), "camera": camera}
