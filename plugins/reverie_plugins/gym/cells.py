"""Pictures of grid worlds from what the agent sees of them: MinAtar's channels, MiniGrid's coded cells."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 8
"""Pixels on each side of a cell."""
EMPTY, UNSEEN = np.array([18, 20, 28], np.float32), np.array([70, 74, 86], np.float32)
_COLOURS = np.array(
    [(214, 60, 56), (70, 180, 90), (72, 120, 230), (150, 90, 200), (235, 200, 70), (140, 146, 158)], np.float32
)
"""MiniGrid's red, green, blue, purple, yellow and grey, in its order."""
_OBJECTS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")


def draw_channels(image: Array) -> Array:
    """(H, W, C) in [0, 1] -> (8 H, 8 W, 3) uint8: one colour for each channel, later channels above earlier ones."""
    picture = np.broadcast_to(EMPTY, (*image.shape[:2], 3)).copy()
    for channel in range(image.shape[2]):
        colour = 255 * np.array(colorsys.hsv_to_rgb(channel / image.shape[2], 0.65, 0.95), np.float32)
        picture += image[:, :, channel, None] * (colour - picture)
    return np.rint(picture).astype(np.uint8).repeat(SIDE, axis=0).repeat(SIDE, axis=1)


def draw_cells(image: Array) -> Array:
    """(W, H, 11 + 6 + states) in [0, 1], as MiniGrid's cells after `one_hot` -> (8 H, 8 W, 3) uint8.

    MiniGrid counts columns first, and so does its observation. Parts of a cell that the prediction is unsure of are
    blended. States (open, closed, locked; the agent's direction) are not drawn.
    """
    columns, rows = image.shape[:2]
    objects, colours = image[:, :, : len(_OBJECTS)], image[:, :, len(_OBJECTS) : len(_OBJECTS) + len(_COLOURS)]
    own = colours @ _COLOURS  # (W, H, 3)
    picture = np.zeros((columns, SIDE, rows, SIDE, 3), np.float32)
    for index, name in enumerate(_OBJECTS):
        paint = {"unseen": UNSEEN, "empty": EMPTY}.get(name, own[:, None, :, None])
        shape = _shape(name)[None, :, None, :, None]
        part = shape * paint + (1 - shape) * EMPTY  # (W or 1, SIDE, H or 1, SIDE, 3)
        picture += objects[:, None, :, None, index, None] * part
    flat = picture.reshape(columns * SIDE, rows * SIDE, 3).transpose(1, 0, 2)  # (8 H, 8 W, 3)
    return np.ascontiguousarray(np.rint(flat.clip(0, 255)).astype(np.uint8))


def _shape(name: str) -> Array:
    """(SIDE, SIDE) of 0 and 1: the part of a cell that an object covers."""
    centre = (np.arange(SIDE) + 0.5 - SIDE / 2) / (SIDE / 2)
    across, down = np.abs(centre)[:, None], np.abs(centre)[None, :]
    masks = {
        "door": np.maximum(across, down) > 0.6,
        "key": (across < 0.3) & (down < 0.8),
        "ball": across**2 + down**2 < 0.6,
        "box": np.maximum(across, down) < 0.7,
        "lava": np.tile(np.arange(SIDE) % 4 < 2, (SIDE, 1)),
        "agent": across + down < 0.9,
    }
    return np.asarray(masks.get(name, np.ones((SIDE, SIDE), bool)), np.float32)
