"""From Gymnasium's spaces to the standard form: which entries there are, and how each raw value is converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie import EnvironmentFault
from reverie.contracts import ActionSpec
from reverie_plugins.gym.config import Codes

Array = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One entry of the raw observation.

    Args:
        path: keys that lead to it (numbers in tuples).
        space: the raw space.
        box: the space after conversion: a float32 vector or a uint8 image (H, W, C).
        convert: raw value -> value of `box`. A value that is not of the raw space's shape and dtype must not reach it.
    """

    path: tuple[str | int, ...]
    space: gym.Space[Any]
    box: gym.spaces.Box
    convert: Callable[[Any], Array]


def flatten(
    space: gym.Space[Any], path: tuple[str | int, ...] = ()
) -> dict[str, tuple[tuple[str | int, ...], gym.Space[Any]]]:
    """All leaves of a space by name: nested dictionaries and tuples are joined by `/`; a single space that is not one
    of these is called `state`, or `image`."""
    if isinstance(space, gym.spaces.Dict):
        inner: Mapping[Any, gym.Space[Any]] = space.spaces
    elif isinstance(space, gym.spaces.Tuple):
        inner = dict(enumerate(space.spaces))
    elif path:
        return {"/".join(str(part).replace(".", "_") for part in path): (path, space)}
    else:
        return {"image" if _is_image(space) else "state": (path, space)}
    found: dict[str, tuple[tuple[str | int, ...], gym.Space[Any]]] = {}
    for key, part in inner.items():
        for name, leaf in flatten(part, (*path, key)).items():
            if name in found:
                raise EnvironmentFault(f"two observation entries would both be called '{name}'")
            found[name] = leaf
    return found


def look_up(observation: Any, path: tuple[str | int, ...]) -> Any:
    """The raw value at a path."""
    for part in path:
        observation = observation[part]
    return observation


def entry(name: str, path: tuple[str | int, ...], space: gym.Space[Any], codes: Codes | None = None) -> Entry:
    """How to show one leaf; `codes` for an image whose channels hold that many codes each.

    Raises:
        EnvironmentFault: for a space that is neither a vector nor an image, naming it and what to do; for codes of
            something that is not a uint8 image with as many channels.
    """
    if codes is not None:
        return _coded_entry(name, path, space, codes)
    if isinstance(space, gym.spaces.Discrete):
        return Entry(path, space, _unit(int(space.n)), _one_hot(int(space.n), int(space.start)))
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return Entry(path, space, _unit(int(space.nvec.sum())), _many_hot(space))
    if isinstance(space, gym.spaces.MultiBinary):
        return Entry(path, space, _unit(int(np.prod(space.shape))), _to_vector)
    if isinstance(space, gym.spaces.Box):
        return _box_entry(name, path, space)
    raise EnvironmentFault(_cannot_show(name, space))


def _box_entry(name: str, path: tuple[str | int, ...], space: gym.spaces.Box) -> Entry:
    dimensions = len(space.shape)
    if _is_image(space):
        height, width, channels = _image_shape(space.shape)
        box = gym.spaces.Box(0, 255, (height, width, channels), np.uint8)
        return Entry(path, space, box, _image_converter(space))
    if dimensions >= 3:
        raise EnvironmentFault(_cannot_show(name, space))
    low, high = (np.clip(bound, -np.inf, np.inf).astype(np.float32).reshape(-1) for bound in (space.low, space.high))
    return Entry(path, space, gym.spaces.Box(low, high, dtype=np.float32), _to_vector)


def _coded_entry(name: str, path: tuple[str | int, ...], space: gym.Space[Any], codes: Codes) -> Entry:
    if not (isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and space.shape[2:] == (len(codes),)):
        raise EnvironmentFault(
            f"`one_hot` gives codes for {len(codes)} channels of '{name}', which is {space}: only uint8 images of "
            "that many channels can be taken apart"
        )
    box = gym.spaces.Box(0, 255, (*space.shape[:2], sum(codes)), np.uint8)
    return Entry(path, space, box, _code_converter(name, codes))


def _code_converter(name: str, codes: Codes) -> Callable[[Any], Array]:
    rows = [255 * np.eye(size, dtype=np.uint8) for size in codes]

    def convert(value: Array) -> Array:
        most = value.reshape(-1, len(codes)).max(axis=0)
        for channel, (found, size) in enumerate(zip(most.tolist(), codes, strict=True)):
            if found >= size:
                raise EnvironmentFault(
                    f"entry '{name}' holds the code {found} in channel {channel}, for which `one_hot` knows only {size}"
                )
        return np.concatenate([row[value[:, :, channel]] for channel, row in enumerate(rows)], axis=2)

    return convert


def _is_image(space: gym.Space[Any]) -> bool:
    """uint8 of two or three dimensions, bool of three, or floats of three that are known to lie in [0, 1]."""
    if not isinstance(space, gym.spaces.Box):
        return False
    if space.dtype == np.uint8:
        return len(space.shape) in (2, 3)
    if len(space.shape) != 3:
        return False
    if space.dtype == np.bool_:
        return True
    return bool(np.issubdtype(space.dtype, np.floating) and (space.low >= 0).all() and (space.high <= 1).all())


def _channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] <= 4 < shape[2] and shape[1] > 4


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if _channels_first(shape):
        return shape[1], shape[2], shape[0]
    return shape[0], shape[1], shape[2]


def _image_converter(space: gym.spaces.Box) -> Callable[[Any], Array]:
    scale = 1 if space.dtype == np.uint8 else 255
    first, flat = _channels_first(space.shape), len(space.shape) == 2

    def convert(value: Array) -> Array:
        if flat:
            value = value[:, :, None]
        elif first:
            value = value.transpose(1, 2, 0)
        if scale == 1:
            return value
        scaled: Array = np.rint(value.astype(np.float32) * scale)
        return scaled.astype(np.uint8)

    return convert


def _to_vector(value: Any) -> Array:
    return np.asarray(value, np.float32).reshape(-1)


def _unit(size: int) -> gym.spaces.Box:
    return gym.spaces.Box(0, 1, (size,), np.float32)


def _one_hot(size: int, start: int) -> Callable[[Any], Array]:
    rows = np.eye(size, dtype=np.float32)

    def convert(value: Any) -> Array:
        row: Array = rows[int(value) - start].copy()
        return row

    return convert


def _many_hot(space: gym.spaces.MultiDiscrete) -> Callable[[Any], Array]:
    start = np.asarray(space.start)
    offset = np.concatenate([[0], np.cumsum(space.nvec)[:-1]])
    size = int(space.nvec.sum())

    def convert(value: Any) -> Array:
        row = np.zeros(size, np.float32)
        row[np.asarray(value) - start + offset] = 1
        return row

    return convert


def _cannot_show(name: str, space: gym.Space[Any]) -> str:
    shown = type(space).__name__ if " at 0x" in str(space) else space  # functions are named by their addresses
    return (
        f"observation entry '{name}' is {shown}, which is neither a vector nor an image; "
        f"leave it out with `env.hide.{name}=all`, or wrap the environment"
    )


@dataclass(frozen=True)
class ActionMap:
    """How an action as components see it becomes the environment's own."""

    spec: ActionSpec
    standard: gym.spaces.Box | gym.spaces.Discrete
    to_environment: Callable[[Any], Any]


def action_map(space: gym.Space[Any]) -> ActionMap:
    """Rescale [-1, 1] to the bounds of a Box, or shift a Discrete to its start.

    Raises:
        EnvironmentFault: for other spaces, and for a Box without bounds.
    """
    if isinstance(space, gym.spaces.Discrete):
        start, size = int(space.start), int(space.n)
        return ActionMap(ActionSpec("discrete", size), gym.spaces.Discrete(size), lambda action: int(action) + start)
    if not (isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)):
        raise EnvironmentFault(
            f"the action space {space} is not supported: actions must be a Box of floats with bounds, or Discrete; "
            "wrap the environment to give it one of these"
        )
    if not space.is_bounded():
        raise EnvironmentFault(
            f"the action space {space} has no bounds, so [-1, 1] cannot be scaled to it; "
            "wrap the environment to give it some"
        )
    return _box_action(space)


def _box_action(space: gym.spaces.Box) -> ActionMap:
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    middle, half = (high + low) / 2, (high - low) / 2
    size = int(np.prod(space.shape))

    def to_environment(action: Array) -> Array:
        scaled = np.asarray(action, np.float64).reshape(space.shape) * half + middle
        clipped: Array = np.clip(scaled, low, high)
        return clipped.astype(space.dtype)

    standard = gym.spaces.Box(-1, 1, (size,), np.float32)
    return ActionMap(ActionSpec("continuous", size), standard, to_environment)
