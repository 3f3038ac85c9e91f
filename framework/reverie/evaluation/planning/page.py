"""One decision on one page: the plans of every round, the chosen one, and what then happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.evaluation.drawing import (
    CARD,
    EDGE,
    INK,
    PAPER,
    QUIET,
    fitted,
    number,
    paste,
    picture,
    rounded,
    shorten,
    write,
)
from reverie.evaluation.planning.fans import CAME, CHOSEN, ELITE, PLAN, ActionGrid, FanPanel, Stroke
from reverie.evaluation.planning.scene import Scene
from reverie.evaluation.planning.thoughts import Fan, Thought

Array = NDArray[Any]

WIDTH, MARGIN, GAP = 1280, 36, 20
HEADER, FOOTER, CAPTION = 104, 62, 44
FAN, ACTIONS, CHART = 216, 150, 206
FRAMES, TILE = 8, 150
"""Pictures in a strip, and their largest height."""


def header(image: Image.Image, scene: Scene, subtitle: str, room: int = WIDTH - 2 * MARGIN) -> None:
    """Title and subtitle at the top left."""
    write(image, (MARGIN, 50), shorten(scene.title, room, 32, bold=True), 32, INK, bold=True)
    write(image, (MARGIN, 82), shorten(subtitle, room, 20), 20, QUIET)


def legend(image: Image.Image, note: str = "") -> None:
    """What the colours mean, at the bottom."""
    base, x = image.height - 22, float(MARGIN)
    named = ((PLAN, "plans"), (ELITE, "elites"), (CHOSEN, "the chosen plan"), (CAME, "what really happened"))
    for colour, text in named:
        paste(image, rounded((22, 22), 6, colour), (round(x), base - 18))
        x += 32
        x += write(image, (x, base), text, 20, QUIET) + 30
    if note:
        write(image, (WIDTH - MARGIN, base), shorten(note, WIDTH - MARGIN - x, 18), 18, QUIET, anchor="rs")


def page(scene: Scene, index: int) -> Image.Image:
    """The picture of one decision."""
    thought = scene.thoughts[index]
    drawn = (_fans(scene, thought), _actions(scene, thought), _strip(scene, thought), _charts(scene, index))
    rows = [row for row in drawn if row is not None]
    height = HEADER + sum(row.height + GAP for row in rows) - GAP + FOOTER
    image = Image.new("RGB", (WIDTH, height + height % 2), PAPER)
    planned, came = scene.verdict.planned[index], scene.verdict.came[index]
    sums = f"reward ahead: planned {number(planned)}, came {number(came)}"
    header(image, scene, f"{scene.counted(thought)}, {scene.search(thought)}; {sums}")
    top = HEADER
    for row in rows:
        image.paste(row, (MARGIN, top))
        top += row.height + GAP
    legend(image, "it plans again at every step")
    return image


def _columns(thought: Thought) -> tuple[int, list[int]]:
    """Width and left edge of every round's column."""
    count, inner = len(thought.fans), WIDTH - 2 * MARGIN
    width = (inner - GAP * (count - 1)) // count
    return width, [column * (width + GAP) for column in range(count)]


def _blank(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH - 2 * MARGIN, height), PAPER)


def round_names(thought: Thought) -> list[str]:
    """What the drawn rounds are called; of many only some are drawn."""
    total, drawn = thought.sizes[0], len(thought.fans)
    numbers = sorted({round(number) for number in np.linspace(0, total - 1, drawn)})
    return [f"Round {number + 1}" if total > 1 else "Plans" for number in numbers]


def best_score(fan: Fan) -> str:
    finite = fan.scores[np.isfinite(fan.scores)]
    return f"best {number(float(finite.max()))}" if finite.size else "nothing could be scored"


def _fans(scene: Scene, thought: Thought) -> Image.Image:
    row = _blank(CAPTION + FAN)
    write(row, (0, 28), f"{scene.entry.title}, as the model expects it", 22, INK, bold=True)
    width, lefts = _columns(thought)
    for name, fan, left in zip(round_names(thought), thought.fans, lefts, strict=True):
        last = fan is thought.fans[-1]
        panel = FanPanel(name, (width, FAN), scene.past, scene.horizon, scene.span, small=len(lefts) > 2)
        row.paste(panel.draw(scene.fan_strokes(thought, fan, chosen=last, came=last), best_score(fan)), (left, CAPTION))
    return row


def _actions(scene: Scene, thought: Thought) -> Image.Image:
    row = _blank(CAPTION + ACTIONS)
    width, lefts = _columns(thought)
    small = len(lefts) > 2
    if scene.action.is_discrete:
        write(row, (0, 28), "Actions: the more elites take one, the darker", 22, INK, bold=True)
    else:
        more = f" (the first of {scene.action.size})" if scene.action.size > 1 else ""
        write(row, (0, 28), f"Actions{more}", 22, INK, bold=True)
    for fan, left in zip(thought.fans, lefts, strict=True):
        panel = action_panel(scene, thought, fan, (width, ACTIONS), chosen=fan is thought.fans[-1], small=small)
        row.paste(panel, (left, CAPTION))
    return row


def action_panel(
    scene: Scene, thought: Thought, fan: Fan, size: tuple[int, int], *, chosen: bool, small: bool, title: str = ""
) -> Image.Image:
    """A round's actions: lines, or a grid where they are discrete."""
    if not scene.action.is_discrete:
        panel = FanPanel(title, size, scene.past, scene.horizon, (-1.0, 1.0), small)
        return panel.draw(scene.action_strokes(thought, fan, chosen=chosen))
    grid = ActionGrid(title, size, scene.past, scene.horizon, scene.action.size, small)
    plan = thought.chosen.actions[0].argmax(-1) if chosen else None
    return grid.draw(scene.shares(fan), plan, scene.past_actions(thought).argmax(-1))


def _strip(scene: Scene, thought: Thought) -> Image.Image | None:
    """Two rows of pictures, as planned above what came; None where nothing can be drawn."""
    there = min(thought.horizon, len(scene.recording) - 1 - thought.step)
    steps = sorted({round(step) for step in np.linspace(0, thought.horizon, min(FRAMES, thought.horizon + 1))})
    planned = {step: scene.planned(thought, step) for step in steps}
    came = {step: scene.came(thought.step + step) for step in steps if step <= there}
    shown = next((array for array in (*came.values(), *planned.values()) if array is not None), None)
    if shown is None:
        return None
    label = 108
    room = (WIDTH - 2 * MARGIN - label - 4 - GAP * (len(steps) - 1)) // len(steps)
    tile = fitted((shown.shape[1], shown.shape[0]), (room, TILE))
    caption = CAPTION + 24  # below the heading stand the steps
    row = _blank(caption + 2 * (tile[1] + 16))
    write(row, (0, 28), "The plan, and what came", 22, INK, bold=True)
    for line, (name, colour, arrays) in enumerate((("planned", CHOSEN, planned), ("came", CAME, came))):
        top = caption + line * (tile[1] + 16)
        write(row, (0, top + tile[1] / 2), name, 20, colour, bold=True, anchor="lm")
        for column, step in enumerate(steps):
            left = label + column * (room + GAP) + (room - tile[0]) // 2
            array = arrays.get(step)
            if array is None:
                continue
            paste(row, rounded((tile[0] + 6, tile[1] + 6), 6, CARD, EDGE, 3), (left - 3, top - 3))
            row.paste(picture(array, tile), (left, top))
            if line == 0:
                text = "now" if step == 0 else f"+{step}"
                write(row, (left + tile[0] / 2, caption - 10), text, 17, QUIET, anchor="ms")
    return row


def _charts(scene: Scene, index: int) -> Image.Image:
    """Reward step by step, and over the whole episode: what plans promised and what came."""
    thought, row = scene.thoughts[index], _blank(CHART)
    width = (WIDTH - 2 * MARGIN - GAP) // 2
    planned = thought.chosen.reward[0]  # (H,)
    came = scene.recording.reward[thought.step + 1 : thought.step + 1 + thought.horizon]
    span = _span(planned, came)
    reward = FanPanel("Reward at each step ahead", (width, CHART), 0, thought.horizon, span)
    row.paste(reward.draw([Stroke(came, 1, CAME, 5), Stroke(planned, 1, CHOSEN, 3)]), (0, 0))
    row.paste(timeline(scene, index, (width, CHART)), (width + GAP, 0))
    return row


def timeline(scene: Scene, index: int, size: tuple[int, int], upto: bool = False) -> Image.Image:
    """Reward of the next steps at every decision of the episode: planned, and as it came."""
    steps = [thought.step for thought in scene.thoughts]
    now, found = steps[index], scene.verdict
    planned, came = (np.full(steps[-1] + 1, np.nan) for _ in range(2))
    shown = steps[: index + 1] if upto else steps
    planned[shown], came[shown] = found.planned[: len(shown)], found.came[: len(shown)]
    span = _span(found.planned, found.came)
    panel = FanPanel(f"Reward over the next {scene.horizon} steps", size, now, steps[-1] - now, span)
    strokes = [
        Stroke(came, -now, CAME, 5), Stroke(planned, -now, CHOSEN, 3),
        Stroke(came[now : now + 1], 0, CAME, 4, dots=True), Stroke(planned[now : now + 1], 0, CHOSEN, 3, dots=True),
    ]  # fmt: skip
    return panel.draw(strokes, "at each decision")


def _span(*arrays: Array) -> tuple[float, float]:
    joined = np.concatenate([array[np.isfinite(array)] for array in arrays])
    return (float(joined.min()), float(joined.max())) if joined.size else (0.0, 1.0)
