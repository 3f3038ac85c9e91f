"""What single libraries need before their environments can be brought into the standard form."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie import PluginError
from reverie_plugins.gym.cells import draw_channels
from reverie_plugins.gym.config import GymConfig

Array = NDArray[Any]

_GRIDS = ("MiniGrid-", "BabyAI-")
_LONGER = {
    "dm_control/": "`kwargs: {task_kwargs: {time_limit: SECONDS}}`",
    "MiniGrid-": "`kwargs: {max_steps: FRAMES}`",
    "BabyAI-": "`kwargs: {max_steps: FRAMES}`",
}
"""How a time limit that is part of an environment itself is made longer."""


def arguments_of(config: GymConfig, drawn: bool) -> dict[str, Any]:
    """Arguments for `gymnasium.make`: those of the recipe, and where the camera of DeepMind Control stands."""
    arguments = dict(config.kwargs)
    if drawn and config.pixels is not None and config.id.startswith("dm_control/"):
        square = {"height": config.pixels, "width": config.pixels, "camera_id": 0}
        arguments["render_kwargs"] = square | dict(arguments.get("render_kwargs") or {})
    return arguments


@contextmanager
def without_model_warnings() -> Iterator[None]:
    """dm_control warns of deprecated words in its own models each time that it reads them: nobody here can help it."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def adapt(env: gym.Env[Any, Any], config: GymConfig) -> gym.Env[Any, Any]:
    """The environment with its library's peculiarities put right.

    Raises:
        PluginError: for options that this environment has no use for.
    """
    if config.view == "whole":
        if not config.id.startswith(_GRIDS):
            raise PluginError(f"env: `view: whole` is for MiniGrid, and '{config.id}' is none\n    fix: leave it out")
        env = importlib.import_module("minigrid.wrappers").FullyObsWrapper(env)
    if config.id.startswith("MinAtar/"):
        env = MinAtarGame(env)
    _check_limit(env, config)
    return env


def own_limit(env: gym.Env[Any, Any], id: str) -> int | None:
    """Frames after which the environment itself cuts an episode; None where it does not, or says nothing about it."""
    raw: Any = env.unwrapped
    if id.startswith(_GRIDS):
        return int(raw.max_steps)
    if id.startswith("dm_control/"):
        steps = getattr(raw, "_step_limit", math.inf)  # of dm_control's own environment; infinite where there is none
        return math.ceil(steps) if math.isfinite(steps) else None
    return FREEWAY_LIMIT if id.startswith("MinAtar/Freeway") else None


def _check_limit(env: gym.Env[Any, Any], config: GymConfig) -> None:
    limit = own_limit(env, config.id)
    if limit is None or config.time_limit is None or config.time_limit <= limit:
        return
    how = next((fix for prefix, fix in _LONGER.items() if config.id.startswith(prefix)), "")
    raise PluginError(
        f"env: '{config.id}' itself ends its episodes after {limit} frames, so `time_limit: {config.time_limit}` "
        f"would change nothing\n    fix: " + (f"write {how}" if how else "leave `time_limit` out")
    )


FREEWAY_LIMIT = 2501
"""Frames of an episode of Freeway, by the counter of the game."""


class MinAtarGame(gym.Wrapper[Any, Any, Any, Any]):
    """A MinAtar game whose episodes follow from their seeds, whose clock cuts and does not kill, and that can be drawn.

    MinAtar repeats the previous action with a probability of 0.1, and does so across episodes: the first action of an
    episode could be the last one of the episode before. Here an episode begins with action 0 before it. Freeway ends by
    its clock alone, and says that this were a true end.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._game.last_action = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated and getattr(self._game.env, "terminate_timer", 0) < 0:
            terminated, truncated = False, True
        return obs, reward, terminated, truncated, info

    def render(self) -> Any:
        """(80, 80, 3) uint8; the library's own pictures are 10 x 10 floats."""
        return draw_channels(np.asarray(self._game.state(), np.float32))

    @property
    def _game(self) -> Any:
        raw: Any = self.env.unwrapped
        return raw.game
