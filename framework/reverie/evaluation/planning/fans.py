"""Panels that show plans: fans of futures, and grids of discrete actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reverie.evaluation.drawing import (
    CARD,
    DREAM,
    EDGE,
    GRID,
    INK,
    PAPER,
    QUIET,
    REAL,
    SMOOTH,
    Colour,
    number,
    paste,
    rounded,
    scale,
    shorten,
    write,
)

Array = NDArray[Any]

PLAN: Colour = (186, 196, 212)
ELITE: Colour = (245, 176, 120)
CHOSEN: Colour = DREAM
CAME: Colour = REAL


@dataclass(frozen=True)
class Stroke:
    """One line of a fan.

    Args:
        values: (T,), from the step `begin` on; not-a-number leaves a gap.
        begin: 0 is now.
        colour: of the line.
        width: in pixels; may be a part of one.
        dots: mark single steps instead of joining them.
    """

    values: Array
    begin: int
    colour: Colour
    width: float = 1.5
    dots: bool = False


class FanPanel:
    """Lines from the past through now into the future.

    Args:
        title: above.
        size: (width, height) in pixels.
        past, ahead: steps before and after now.
        span: lower and upper end of the vertical axis.
        small: for panels that stand side by side.
    """

    def __init__(
        self, title: str, size: tuple[int, int], past: int, ahead: int, span: tuple[float, float], small: bool = False
    ) -> None:
        self.title, self.size, self.past, self.ahead = title, size, past, ahead
        self.low, self.high, self.ticks = scale(np.array(span))
        self.type = 17 if small else 19
        self.left, self.right, self.top, self.bottom = (58, 14, 42, 30) if small else (78, 22, 46, 34)
        if not title:
            self.top = 14
        self.empty = self._background()

    def x(self, step: float) -> float:
        inner = self.size[0] - self.left - self.right
        return self.left + inner * (step + self.past) / max(self.past + self.ahead, 1)

    def y(self, value: float) -> float:
        inner = self.size[1] - self.top - self.bottom
        return self.top + inner * (self.high - value) / (self.high - self.low)

    def _background(self) -> Image.Image:
        image = Image.new("RGB", self.size, PAPER)
        paste(image, rounded(self.size, 12, CARD, EDGE), (0, 0))
        draw = ImageDraw.Draw(image)
        for tick in self.ticks:
            draw.line((self.x(-self.past), self.y(tick), self.x(self.ahead), self.y(tick)), fill=GRID, width=2)
            write(image, (self.left - 10, self.y(tick)), number(tick), self.type - 1, QUIET, anchor="rm")
        base = self.size[1] - self.bottom
        draw.line((self.x(0), self.top - 2, self.x(0), base + 2), fill=QUIET, width=2)
        # Those that come later give way to what stands there already.
        named: dict[int, str] = {0: "now"}
        for step in (self.ahead, -self.past, self.ahead // 2):
            if all(abs(self.x(step) - self.x(other)) > 66 for other in named):
                named[step] = f"+{step}" if step > 0 else f"−{-step}"
        for step, text in named.items():
            anchor = "ms" if -self.past < step < self.ahead else "rs" if step == self.ahead else "ls"
            write(image, (self.x(step), self.size[1] - 9), text, self.type - 2, QUIET, anchor=anchor)
        return image

    def draw(self, strokes: Sequence[Stroke], note: str = "", title: str | None = None) -> Image.Image:
        """The panel with these lines, the first below, and a note at its top right."""
        image = self._lines(strokes)
        room = self.size[0] - 40 - (len(note) * self.type * 0.62 if note else 0)
        text = shorten(self.title if title is None else title, room, self.type + 1, bold=True)
        write(image, (16, 29), text, self.type + 1, INK, bold=True)
        if note:
            write(image, (self.size[0] - 14, 29), note, self.type, QUIET, anchor="rs")
        return image

    def _lines(self, strokes: Sequence[Stroke]) -> Image.Image:
        box = (0, self.top - 2, self.size[0], self.size[1] - self.bottom + 2)
        inside = self.empty.crop(box)
        large = inside.resize((inside.width * SMOOTH, inside.height * SMOOTH), Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(large)
        for stroke in strokes:
            for run in self._runs(stroke, box[1]):
                self._trace(draw, run, stroke)
        image = self.empty.copy()
        image.paste(large.resize(inside.size, Image.Resampling.BOX), box[:2])
        return image

    def _runs(self, stroke: Stroke, top: int) -> list[list[tuple[float, float]]]:
        """Points in the large picture, cut where a value is missing; values beyond the axis stay at its edge."""
        runs: list[list[tuple[float, float]]] = [[]]
        for index, value in enumerate(stroke.values):
            step = stroke.begin + index
            if np.isfinite(value) and -self.past <= step <= self.ahead:
                kept = min(max(float(value), self.low), self.high)
                runs[-1].append((self.x(step) * SMOOTH, (self.y(kept) - top) * SMOOTH))
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]

    @staticmethod
    def _trace(draw: ImageDraw.ImageDraw, run: list[tuple[float, float]], stroke: Stroke) -> None:
        if len(run) > 1 and not stroke.dots:
            draw.line(run, fill=stroke.colour, width=max(1, round(stroke.width * SMOOTH)), joint="curve")
        radius = (stroke.width + 2.0) * SMOOTH if stroke.dots else stroke.width * SMOOTH / 2
        marked = run if stroke.dots else run[-1:]
        for x, y in marked:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=stroke.colour)


class ActionGrid:
    """Discrete plans: how many of the elites take which action at which step, and which one was chosen.

    Args:
        title: above.
        size: (width, height).
        past, ahead: steps before and after now, so that columns stand below those of a `FanPanel`.
        actions: how many there are.
    """

    def __init__(
        self, title: str, size: tuple[int, int], past: int, ahead: int, actions: int, small: bool = False
    ) -> None:
        self.frame = FanPanel(title, size, past, ahead, (0.0, 1.0), small)
        self.actions, self.title, self.size, self.ahead = actions, title, size, ahead
        self.frame.ticks = []
        self.frame.empty = self.frame._background()

    def draw(self, shares: Array, chosen: Array | None, past: Array, note: str = "") -> Image.Image:
        """Shares (H, A) of the actions, the chosen plan's actions (H,) or None, and the past ones (P,)."""
        frame = self.frame
        image = frame.draw([], note)
        draw = ImageDraw.Draw(image)
        height = (self.size[1] - frame.top - frame.bottom) / self.actions
        width = frame.x(1) - frame.x(0)
        for action in range(self.actions):
            top = frame.top + action * height
            write(image, (frame.left - 10, top + height / 2), str(action), frame.type - 1, QUIET, anchor="rm")
            for step in range(len(shares)):
                cell = (frame.x(step) + 1, top + 1, frame.x(step) + width - 2, top + height - 2)
                draw.rectangle(cell, fill=_mix(CARD, ELITE, float(shares[step, action])))
                if chosen is not None and chosen[step] == action:
                    self._dot(image, frame.x(step) + width / 2, top + height / 2, CHOSEN, min(width, height))
        for index, action in enumerate(past):
            middle = frame.x(index - len(past)) + width / 2
            self._dot(image, middle, frame.top + (int(action) + 0.5) * height, CAME, min(width, height))
        return image

    @staticmethod
    def _dot(image: Image.Image, x: float, y: float, colour: Colour, room: float) -> None:
        size = max(6, min(16, int(room * 0.6)))
        paste(image, rounded((size, size), size // 2, colour), (round(x - size / 2), round(y - size / 2)))


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    mixed = [round(a + (b - a) * min(max(share, 0.0), 1.0)) for a, b in zip(one, other, strict=True)]
    return (mixed[0], mixed[1], mixed[2])
