"""The frames of a dream video: pictures above, curves below, and no doubt about what the model could see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.evaluation.drawing import (
    CARD,
    CONTEXT,
    DREAM,
    EDGE,
    ERROR,
    INK,
    PAPER,
    QUIET,
    REAL,
    Line,
    Panel,
    difference,
    fitted,
    paste,
    picture,
    rounded,
    shorten,
    write,
)
from reverie.evaluation.dreaming import Dream

Array = NDArray[Any]

WIDTH, MARGIN, GAP = 1280, 36, 24
HEADER, CAPTION, PANEL, FOOTER = 100, 46, 172, 62
TILE = 330
"""Largest height of a picture."""
COLUMNS, ENTRIES = 3, 6
"""Charts side by side, and most charts of observation entries."""


@dataclass(frozen=True)
class Pictures:
    """Real and dreamed pictures of one episode, each T of (H, W, C) uint8, and what they show."""

    name: str
    real: Sequence[Array]
    dreamed: Sequence[Array]


@dataclass(frozen=True)
class Chart:
    """What one panel shows: curves (T,) over the steps of one episode."""

    title: str
    lines: tuple[Line, ...]
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scene:
    """Everything about one dreamed episode that is drawn.

    Args:
        title: such as `dreamer · CartPole-v1`.
        subtitle: such as `episode 1 of 3`.
        dream: T rows.
        pictures: none, or one per image entry.
        charts: small charts below.
        note: one line in place of what is missing, such as why nothing is decoded; may be empty.
    """

    title: str
    subtitle: str
    dream: Dream
    pictures: Sequence[Pictures]
    charts: Sequence[Chart]
    note: str = ""


def charts_of(dream: Dream, labels: dict[str, Sequence[str]]) -> tuple[list[Chart], int]:
    """The charts of a dream, and how many entries were left out: vector entries (those that vary most where there are
    many), their error, reward, value."""
    entries: list[tuple[float, Chart]] = []
    gaps: list[Array] = []
    for key, expected in dream.obs.items():
        if expected.ndim != 2:
            continue
        real = dream.real.obs[key]
        spread = real.std(axis=0)  # (size,)
        gaps.append((expected - real) / np.maximum(spread, 1e-3))
        for index, label in enumerate(labels[key]):
            lines = (_real(real[:, index]), Line(expected[:, index], DREAM))
            weight = float(spread[index] / (np.abs(real[:, index]).mean() + 1e-6))
            entries.append((weight, Chart(label, lines)))
    kept = sorted(sorted(range(len(entries)), key=lambda index: -entries[index][0])[:ENTRIES])
    charts = [entries[index][1] for index in kept]
    if dream.reward is not None:
        real_reward = np.where(np.arange(len(dream)) == 0, np.nan, dream.real.reward)
        charts.append(Chart("Reward", (_real(real_reward), Line(dream.reward, DREAM))))
    if gaps:
        error = np.sqrt((np.concatenate(gaps, axis=1) ** 2).mean(axis=1))
        charts.append(Chart("Error / std", (Line(error, ERROR),)))
    if dream.value is not None and len(charts) % COLUMNS:
        charts.append(Chart("Value", (Line(dream.value, DREAM),)))
    if dream.cont is not None and len(charts) % COLUMNS:
        charts.append(Chart("Continue", (Line(dream.cont, DREAM),), (0.0, 1.0)))
    return charts, len(entries) - len(kept)


def _real(values: Array) -> Line:
    return Line(values, REAL, width=6)


class Storyboard:
    """Draws the frames of one scene. All scenes of a film need the same pictures and charts, hence the same size."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        count = max(len(scene.charts), 1)
        columns = min(COLUMNS, count)
        width = (WIDTH - 2 * MARGIN - GAP * (columns - 1)) // columns
        self.tile = self._tile_size()
        top = HEADER + sum(self.tile[1] + CAPTION + GAP for _ in scene.pictures)
        self.panels: list[tuple[tuple[int, int], Panel]] = []
        for index, chart in enumerate(scene.charts):
            at = (MARGIN + (index % columns) * (width + GAP), top + (index // columns) * (PANEL + GAP))
            self.panels.append((at, Panel(chart.title, chart.lines, scene.dream.context, (width, PANEL), chart.span)))
        rows = -(-len(scene.charts) // columns)
        height = top + rows * (PANEL + GAP) - (GAP if rows else 0) + FOOTER
        self.size = (WIDTH, height + height % 2)
        self.backdrop = self._backdrop()

    def _tile_size(self) -> tuple[int, int]:
        """(width, height) of each picture; all three of a row are equal."""
        if not self.scene.pictures:
            return (0, 0)
        shape = self.scene.pictures[0].real[0].shape
        room = ((WIDTH - 2 * MARGIN - 2 * GAP) // 3, TILE if len(self.scene.pictures) == 1 else TILE // 2)
        return fitted((shape[1], shape[0]), room)

    def _backdrop(self) -> Image.Image:
        image = Image.new("RGB", self.size, PAPER)
        scene = self.scene
        write(image, (MARGIN, 50), shorten(scene.title, 840, 32, bold=True), 32, INK, bold=True)
        write(image, (MARGIN, 80), shorten(scene.subtitle, 840, 20), 20, QUIET)
        base = self.size[1] - 22
        x = float(MARGIN)
        for colour, text in (
            (REAL, "real"),
            (DREAM, "dream"),
            (CONTEXT, "context: the model sees the real observations"),
        ):
            paste(image, rounded((22, 22), 6, colour, EDGE if colour == CONTEXT else None), (round(x), base - 18))
            x += 32
            x += write(image, (x, base), text, 20, QUIET) + 30
        if scene.note:
            room = WIDTH - MARGIN - x
            write(image, (WIDTH - MARGIN, base), shorten(scene.note, room, 20), 20, QUIET, anchor="rs")
        return image

    def frames(self) -> Iterator[Image.Image]:
        """One image per step of the episode."""
        for step in range(len(self.scene.dream)):
            yield self.frame(step)

    def frame(self, step: int) -> Image.Image:
        image = self.backdrop.copy()
        self._phase(image, step)
        top = HEADER
        for pictures in self.scene.pictures:
            self._pictures(image, pictures, step, top)
            top += self.tile[1] + CAPTION + GAP
        for at, panel in self.panels:
            image.paste(panel.at(step), at)
        return image

    def _phase(self, image: Image.Image, step: int) -> None:
        """The pill at the top right: is the model watching or dreaming?"""
        dream = self.scene.dream
        dreaming = step >= dream.context
        name = "DREAMING" if dreaming else "WATCHING"
        done, of = (step - dream.context, len(dream) - dream.context) if dreaming else (step, dream.context)
        size, colour = (330, 52), DREAM if dreaming else REAL
        at = (WIDTH - MARGIN - size[0], 24)
        paste(image, rounded(size, 26, colour), at)
        write(image, (at[0] + 26, at[1] + 27), name, 23, CARD, bold=True, anchor="lm")
        write(image, (at[0] + size[0] - 26, at[1] + 27), f"{done + 1} / {of}", 22, CARD, anchor="rm")

    def _pictures(self, image: Image.Image, pictures: Pictures, step: int, top: int) -> None:
        real, dreamed = (picture(array[step], self.tile) for array in (pictures.real, pictures.dreamed))
        gap, mean = difference(real, dreamed)
        dreaming = step >= self.scene.dream.context
        tiles = (
            (real, "Real", REAL),
            (dreamed, "Dream" if dreaming else "Reconstruction", DREAM if dreaming else REAL),
            (gap, f"Pixels differ by {100 * mean:.1f} %", ERROR),
        )
        total = 3 * self.tile[0] + 2 * GAP
        for index, (shown, caption, colour) in enumerate(tiles):
            left = (WIDTH - total) // 2 + index * (self.tile[0] + GAP)
            write(image, (left, top + 30), caption, 22, colour, bold=True)
            frame = (self.tile[0] + 8, self.tile[1] + 8)
            edge = colour if index == 1 else EDGE
            paste(image, rounded(frame, 8, CARD, edge, 4), (left - 4, top + CAPTION - 4))
            image.paste(shown, (left, top + CAPTION))
