"""A raw Gymnasium environment in the standard form."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie import EnvironmentFault
from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.families import codes_of
from reverie_plugins.gym.spaces import Entry, action_map, entry, flatten, look_up

Array = NDArray[Any]


class StandardForm(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Dict of float32 vectors and uint8 images; actions in [-1, 1] or 0 ... n - 1; one step is `action_repeat` frames.

    A raw value whose shape or dtype is not what the raw space declares is handed on as it is, so that whoever checks
    the standard form sees what the environment really gave.
    """

    stateless = True  # nothing is lost when it is made anew around an environment whose state was put back

    def __init__(self, env: gym.Env[Any, Any], config: GymConfig) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, config=config)
        gym.Wrapper.__init__(self, env)
        self._repeat = config.action_repeat
        self._grey = config.grey
        self._size = (config.image_size,) * 2 if isinstance(config.image_size, int) else config.image_size
        self._pixels = config.pixels
        self._actions = action_map(env.action_space)
        self._entries = _entries(env.observation_space, config)
        self._kept = {
            name: np.setdiff1d(np.arange(part.box.shape[0]), np.array(hidden, int))
            for name, part in self._entries.items()
            if (hidden := config.hidden(name)) is not None
        }
        boxes: dict[str, gym.Space[Any]] = {name: self._shown(name, part.box) for name, part in self._entries.items()}
        if self._pixels is not None:
            boxes["image"] = self._image_box(self._size or (self._pixels, self._pixels), 3)
        if not boxes:
            raise EnvironmentFault("`hide` leaves the agent nothing to observe; `pixels: 64` would give it a picture")
        self.observation_space = gym.spaces.Dict(boxes)
        self.action_space = self._actions.standard

    @property
    def specs(self) -> tuple[ObservationSpec, ActionSpec]:
        """Observation and action in the form in which components see them."""
        assert isinstance(self.observation_space, gym.spaces.Dict)
        found = {name: _spec(box) for name, box in self.observation_space.spaces.items()}
        return ObservationSpec(found), self._actions.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        raw, info = self.env.reset(seed=seed, options=options)
        return self._observe(raw), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        mine = self._actions.to_environment(action)
        total: Any = 0.0
        frames, terminated, truncated = 0, False, False
        while frames < self._repeat and not (terminated or truncated):
            raw, reward, terminated, truncated, info = self.env.step(mine)
            total += reward
            frames += 1
        return self._observe(raw), total, bool(terminated), bool(truncated), {**info, "frames": frames}

    def _observe(self, raw: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, part in self._entries.items():
            value = look_up(raw, part.path)
            shown[name] = self._show(name, part, value) if _as_declared(value, part.space) else value
        if self._pixels is not None:
            frame = np.asarray(self.env.render())
            shown["image"] = self._reshape_image(frame, self._size or (self._pixels, self._pixels))
        return shown

    def _show(self, name: str, part: Entry, value: Any) -> Array:
        converted = part.convert(value)
        if converted.ndim == 3:
            return self._reshape_image(converted, self._size)
        return converted[self._kept[name]] if name in self._kept else converted

    def _reshape_image(self, image: Array, size: tuple[int, ...] | None) -> Array:
        """(H, W, C) uint8 -> the size and number of channels that the agent sees."""
        if size is not None and image.shape[:2] != tuple(size):
            image = resize(image, size)
        if self._grey and image.shape[2] == 3:
            image = grey(image)
        return np.ascontiguousarray(image)

    def _shown(self, name: str, box: gym.spaces.Box) -> gym.spaces.Box:
        if len(box.shape) == 3:
            return self._image_box(self._size or box.shape[:2], box.shape[2])
        if name not in self._kept:
            return box
        kept = self._kept[name]
        return gym.spaces.Box(box.low[kept], box.high[kept], dtype=np.float32)

    def _image_box(self, size: tuple[int, ...], channels: int) -> gym.spaces.Box:
        return gym.spaces.Box(0, 255, (*size, 1 if self._grey and channels == 3 else channels), np.uint8)


def resize(image: Array, size: tuple[int, ...]) -> Array:
    """(H, W, C) uint8 -> (*size, C), each pixel the mean of the area that it covers."""
    height, width = size
    if image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
    layers = [
        Image.fromarray(np.ascontiguousarray(image[:, :, c])).resize((width, height), Image.Resampling.BOX)
        for c in range(image.shape[2])
    ]
    return np.stack([np.asarray(layer) for layer in layers], axis=2)


def grey(image: Array) -> Array:
    """(H, W, 3) uint8 -> (H, W, 1) luma with the ITU-R 601 weights, rounded."""
    weights = np.array([299, 587, 114], np.uint32)
    luma = (image.astype(np.uint32) @ weights + 500) // 1000  # (H, W)
    return luma.astype(np.uint8)[:, :, None]


def _as_declared(value: Any, space: gym.Space[Any]) -> bool:
    if isinstance(space, gym.spaces.Discrete):
        return bool(space.contains(value))
    if not isinstance(space, gym.spaces.Box):
        return bool(space.contains(value))
    return isinstance(value, np.ndarray | np.generic) and value.shape == space.shape and value.dtype == space.dtype


def _entries(space: gym.Space[Any], config: GymConfig) -> dict[str, Entry]:
    leaves = flatten(space)
    codes = codes_of(config)
    for key, named in (("hide", () if config.hide == "all" else config.hide), ("one_hot", config.one_hot or ())):
        for name in named:
            if name not in leaves:
                raise EnvironmentFault(f"`{key}` names the entry '{name}', but there are only {', '.join(leaves)}")
    if config.pixels is not None and "image" in leaves and config.hidden("image") != "all":
        raise EnvironmentFault(
            "`pixels` would add an entry 'image', but the environment has one already: hide it first"
        )
    shown = {
        name: entry(name, path, leaf, codes.get(name))
        for name, (path, leaf) in leaves.items()
        if config.hidden(name) != "all"
    }
    return {name: part for name, part in shown.items() if not _nothing_left(name, part, config)}


def _nothing_left(name: str, part: Entry, config: GymConfig) -> bool:
    hidden = config.hidden(name)
    if hidden is None or hidden == "all":
        return False
    if len(part.box.shape) != 1:
        raise EnvironmentFault(f"`hide` can only remove the whole of '{name}', which is an image: write `{name}: all`")
    beyond = [index for index in hidden if index >= part.box.shape[0]]
    if beyond:
        raise EnvironmentFault(
            f"`hide` removes index {beyond[0]} of '{name}', which has entries 0 ... {part.box.shape[0] - 1}"
        )
    return len(set(hidden)) == part.box.shape[0]


def _spec(box: gym.Space[Any]) -> ArraySpec:
    assert isinstance(box, gym.spaces.Box)
    dtype = "uint8" if box.dtype == np.uint8 else "float32"
    return ArraySpec(tuple(box.shape), dtype, float(box.low.min()), float(box.high.max()))  # type: ignore[arg-type]
