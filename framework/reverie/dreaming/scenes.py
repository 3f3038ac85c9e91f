"""Pictures of observations, real and dreamed alike: what `render` gives and what `reverie play` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.specs import ObservationSpec
from reverie.evaluation.drawing import EDGE, INK, PAPER, QUIET, REAL, number, paste, rounded, shorten, write

Array = NDArray[Any]

SMALLEST = 128
"""Pixels of the shorter side below which images are enlarged by whole factors."""
BAR, WIDTH, MOST_BARS = 44, 420, 12
"""Pixels of one bar and of a picture of bars, and how many are shown."""


class Painter:
    """Draws raw entries: as the environment draws the state that they stand for, else the image among them, else one
    bar per number.

    Args:
        observation: the entries.
        factory: of the environment, whose own drawing is preferred.
    """

    def __init__(self, observation: ObservationSpec, factory: EnvironmentFactory) -> None:
        self.observation, self.factory = observation, factory
        self._colours = [key for key, spec in observation.images.items() if spec.shape[-1] in (1, 3)]
        self._reach: dict[str, Array] = {}

    def paint(self, obs: Mapping[str, Array]) -> Array:
        """Entries (*shape) -> a picture (H, W, 3) uint8."""
        if self._colours:
            return _enlarged(np.hstack(_of_one_height([obs[key] for key in self._colours])))
        drawn = self.factory.render_observation(obs)
        if drawn is not None:
            return drawn
        if self.observation.vectors:
            return self._bars(obs)
        key = next(iter(self.observation.images))
        return _enlarged(np.asarray(obs[key]).max(axis=-1, keepdims=True))

    def _bars(self, obs: Mapping[str, Array]) -> Array:
        """One bar per element from the middle, as long as its share of the largest value seen so far."""
        rows = [row for key in self.observation.vectors for row in self._rows(key, np.asarray(obs[key], np.float64))]
        shown, hidden = rows[:MOST_BARS], len(rows) - MOST_BARS
        image = Image.new("RGB", (WIDTH, BAR * (len(shown) + (hidden > 0)) + 16), PAPER)
        middle, half = WIDTH // 2 + 60, WIDTH // 2 - 84
        for place, (label, value, reach) in enumerate(shown):
            top = 12 + place * BAR
            write(image, (14, top + 22), shorten(label, 150, 15), 15, INK)
            paste(image, rounded((2 * half, 18), 6, EDGE), (middle - half, top + 8))
            length = round(half * min(abs(value) / reach, 1.0))
            if length > 2:
                paste(image, rounded((length, 18), 4, REAL), (middle - (length if value < 0 else 0), top + 8))
            write(image, (middle, top + 40), number(value), 11, QUIET, anchor="ms")
        if hidden > 0:
            write(image, (14, image.height - 16), f"and {hidden} more", 15, QUIET)
        return np.asarray(image)

    def _rows(self, key: str, values: Array) -> list[tuple[str, float, float]]:
        reach = np.maximum(self._reach.get(key, np.full(values.shape, 1e-6)), np.abs(values))
        self._reach[key] = reach
        known = self.factory.entry_labels(key)
        labels = known if known is not None and len(known) == len(values) else None
        names = labels or ([key] if len(values) == 1 else [f"{key} {index}" for index in range(len(values))])
        return [(str(name), float(v), float(r)) for name, v, r in zip(names, values, reach, strict=True)]


def _of_one_height(images: list[Array]) -> list[Array]:
    height = max(image.shape[0] for image in images)
    padded = [np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0))) for image in images]
    return [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in padded]


def _enlarged(image: Array) -> Array:
    """(H, W, 1 or 3) -> (H', W', 3) with square pixels large enough to be seen."""
    factor = max(1, -(-SMALLEST // min(image.shape[:2])))
    colours = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    larger: Array = colours.repeat(factor, axis=0).repeat(factor, axis=1)
    return larger
