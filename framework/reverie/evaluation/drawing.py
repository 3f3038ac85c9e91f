"""What dream videos are drawn with: colours, type, pictures and growing curves, all by Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

Array = NDArray[Any]
Colour = tuple[int, int, int]

PAPER: Colour = (244, 246, 249)
CARD: Colour = (255, 255, 255)
EDGE: Colour = (222, 227, 234)
GRID: Colour = (232, 236, 241)
INK: Colour = (24, 32, 46)
QUIET: Colour = (98, 110, 128)
REAL: Colour = (52, 116, 190)
DREAM: Colour = (224, 88, 20)
ERROR: Colour = (176, 24, 62)
CONTEXT: Colour = (226, 233, 243)

SMOOTH = 3
"""Curves and rounded corners are drawn this many times larger and scaled down."""


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def write(
    image: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: Colour = INK,
    *,
    bold: bool = False,
    anchor: str = "ls",
) -> float:
    """Put text on the image (by default its baseline starts at `at`); gives the text's width."""
    chosen = font(size, bold)
    ImageDraw.Draw(image).text(at, text, fill=colour, font=chosen, anchor=anchor)
    return chosen.getlength(text)


def shorten(text: str, width: float, size: int, bold: bool = False) -> str:
    """The text, or its beginning and an ellipsis where it is wider than `width` pixels."""
    if font(size, bold).getlength(text) <= width:
        return text
    while text and font(size, bold).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@cache
def rounded(
    size: tuple[int, int], radius: int, fill: Colour, edge: Colour | None = None, width: int = 1
) -> Image.Image:
    """A rounded rectangle with a clear outside (RGBA)."""
    large = Image.new("RGBA", (size[0] * SMOOTH, size[1] * SMOOTH), (*fill, 0))
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), radius * SMOOTH, fill=fill, outline=edge, width=width * SMOOTH
    )
    return large.resize(size, Image.Resampling.BOX)


def paste(image: Image.Image, other: Image.Image, at: tuple[int, int]) -> None:
    """Put `other` on the image, through its own transparency."""
    image.paste(other, at, other if other.mode == "RGBA" else None)


def picture(array: Array, box: tuple[int, int]) -> Image.Image:
    """(H, W, 1 or 3) uint8 -> fitted into the box (width, height): small images keep their square pixels."""
    pixels = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    size = fitted((array.shape[1], array.shape[0]), box)
    larger = size[0] >= 2 * image.width
    return image.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BILINEAR)


def fitted(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape inside the box."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def difference(real: Image.Image, dreamed: Image.Image) -> tuple[Image.Image, float]:
    """A picture that is white where both agree and dark red where they differ by half the range or more, and the mean
    absolute difference as a part of the range. Differences are means over the channels."""
    gap = np.asarray(ImageChops.difference(real, dreamed), dtype=np.float32).mean(axis=2) / 255.0  # (H, W)
    shade = (np.clip(2.0 * gap, 0.0, 1.0) * 255.0).astype(np.uint8)
    return ImageOps.colorize(Image.fromarray(shade), CARD, ERROR), float(gap.mean())


@dataclass(frozen=True)
class Line:
    """One curve of a panel.

    Args:
        values: (T,); not-a-number leaves a gap.
        colour: of the curve and of its current value.
        width: in pixels; what is real is drawn wide, so that a good dream lies inside it and both are seen.
    """

    values: Array
    colour: Colour
    width: int = 3


class Panel:
    """A small chart whose curves grow from left to right; the context is shaded.

    Everything is drawn once: with and without curves. A frame takes the columns up to now from the one and the rest
    from the other.

    Args:
        title: above the chart.
        lines: curves over the same T steps.
        context: steps that the model saw.
        size: (width, height) in pixels.
        span: ends of the vertical axis; from the curves if None.
    """

    VALUE = 94
    """Width of a column of current values."""
    PAD_LEFT, PAD_RIGHT, TOP, BOTTOM = 94, 22, 50, 18

    def __init__(
        self,
        title: str,
        lines: Sequence[Line],
        context: int,
        size: tuple[int, int],
        span: tuple[float, float] | None = None,
    ) -> None:
        self.lines = lines
        self.context = context
        self.size = size
        self.steps = len(lines[0].values)
        self.low, self.high, self.ticks = scale(
            np.concatenate([line.values for line in lines]) if span is None else np.array(span)
        )
        self.empty = self._background(title)
        self.full = self._with_curves()

    def x(self, step: float) -> float:
        inner = self.size[0] - self.PAD_LEFT - self.PAD_RIGHT
        return self.PAD_LEFT + inner * step / max(self.steps - 1, 1)

    def y(self, value: float) -> float:
        inner = self.size[1] - self.TOP - self.BOTTOM
        return self.TOP + inner * (self.high - value) / (self.high - self.low)

    def _background(self, title: str) -> Image.Image:
        image = Image.new("RGB", self.size, PAPER)
        paste(image, rounded(self.size, 12, CARD, EDGE), (0, 0))
        draw = ImageDraw.Draw(image)
        draw.rectangle((self.x(0), self.TOP, self.x(self.context - 0.5), self.size[1] - self.BOTTOM), fill=CONTEXT)
        for tick in self.ticks:
            draw.line((self.x(0), self.y(tick), self.x(self.steps - 1), self.y(tick)), fill=GRID, width=2)
            write(image, (self.PAD_LEFT - 12, self.y(tick)), number(tick), 19, QUIET, anchor="rm")
        room = self.size[0] - 40 - self.VALUE * len(self.lines)
        size = next((size for size in (21, 19, 17) if font(size, True).getlength(title) <= room), 17)
        write(image, (20, 33), shorten(title, room, size, bold=True), size, INK, bold=True)
        return image

    def _with_curves(self) -> Image.Image:
        large = self.empty.resize((self.size[0] * SMOOTH, self.size[1] * SMOOTH), Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(large)
        for line in self.lines:
            for points in self._runs(line.values):
                draw.line(points, fill=line.colour, width=line.width * SMOOTH, joint="curve")
        smooth = large.resize(self.size, Image.Resampling.BOX)
        inside = (int(self.x(0)), 0, int(self.x(self.steps - 1)) + 1, self.size[1])
        image = self.empty.copy()
        image.paste(smooth.crop(inside), inside[:2])
        return image

    def _runs(self, values: Array) -> list[list[tuple[float, float]]]:
        """The curve's points in the large image, cut at gaps."""
        runs: list[list[tuple[float, float]]] = [[]]
        for step, value in enumerate(values):
            if np.isfinite(value):
                runs[-1].append((self.x(step) * SMOOTH, self.y(float(value)) * SMOOTH))
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if len(run) > 1]

    def at(self, step: int) -> Image.Image:
        """The chart when `step` has just arrived."""
        image = self.empty.copy()
        now = self.x(step)
        past = (0, 0, min(int(now) + 1, self.size[0]), self.size[1])
        image.paste(self.full.crop(past), (0, 0))
        ImageDraw.Draw(image).line((now, self.TOP - 4, now, self.size[1] - self.BOTTOM + 4), fill=QUIET, width=2)
        for line in self.lines:
            if np.isfinite(line.values[step]):
                paste(image, _dot(line.colour), (round(now) - 8, round(self.y(float(line.values[step]))) - 8))
        self._values(image, step)
        return image

    def _values(self, image: Image.Image, step: int) -> None:
        for column, line in enumerate(reversed(self.lines)):
            value = line.values[step]
            text = number(float(value)) if np.isfinite(value) else "–"
            right = self.size[0] - 20 - column * self.VALUE
            write(image, (right, 33), text, 19, line.colour, bold=True, anchor="rs")


@cache
def _dot(colour: Colour) -> Image.Image:
    return rounded((16, 16), 8, colour, CARD, 2)


def number(value: float) -> str:
    """Short, with a real minus sign and at most three significant digits."""
    if value == 0 or abs(value) < 5e-4:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 100 else 0
    text = f"{value:.{min(digits, 3)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def scale(values: Array) -> tuple[float, float, list[float]]:
    """Lower end, upper end and two to four round ticks of an axis that holds all finite values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    least = max(1e-3, 0.02 * max(abs(low), abs(high)))
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least, middle + least
    margin = 0.08 * (high - low)
    low, high = low - margin, high + margin
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = max((step * factor for factor in (1, 2, 5) if (high - low) / (step * factor) >= 2), default=step)
    first = math.ceil(low / step)
    return low, high, [tick * step for tick in range(first, math.floor(high / step) + 1)]
