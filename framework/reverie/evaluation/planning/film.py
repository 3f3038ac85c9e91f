"""The film of an episode's thoughts: round by round, then the action, then the next decision."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from PIL import Image

from reverie.evaluation.drawing import CARD, DREAM, EDGE, INK, PAPER, QUIET, fitted, paste, picture, rounded, write
from reverie.evaluation.planning.fans import CHOSEN, FanPanel
from reverie.evaluation.planning.page import (
    GAP,
    HEADER,
    MARGIN,
    WIDTH,
    action_panel,
    best_score,
    header,
    legend,
    round_names,
    timeline,
)
from reverie.evaluation.planning.scene import Scene
from reverie.evaluation.planning.thoughts import Thought

FAN, ACTIONS, TIMELINE, CAPTION = 290, 176, 180, 40
COLUMN = 330
FOOTER = 62
ROUND_FRAMES, ACT_FRAMES, END_FRAMES = 2, 4, 12
"""Frames for which a round, an action and the end stay."""


class PlanFilm:
    """Draws the frames of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        first = scene.thoughts[0]
        shown = scene.came(first.step)
        self.height = HEADER + FAN + ACTIONS + TIMELINE + 2 * GAP + FOOTER
        box = (COLUMN, (FAN + ACTIONS + TIMELINE + 2 * GAP) // 2 - CAPTION - 8)
        self.tile = None if shown is None else fitted((shown.shape[1], shown.shape[0]), box)
        self.left = MARGIN if self.tile is None else MARGIN + COLUMN + GAP + 4
        self.inner = WIDTH - MARGIN - self.left

    @cached_property
    def panel(self) -> FanPanel:
        """The large fan; its axes stay the same through the whole film."""
        return FanPanel(self.scene.entry.title, (self.inner, FAN), self.scene.past, self.scene.horizon, self.scene.span)

    def frames(self) -> Iterator[Image.Image]:
        """All frames; equal ones are yielded again and not drawn again."""
        for index, thought in enumerate(self.scene.thoughts):
            for number in range(len(thought.fans)):
                image = self.frame(index, number, acting=False)
                for _ in range(ROUND_FRAMES):
                    yield image
            image = self.frame(index, len(thought.fans) - 1, acting=True)
            for _ in range(ACT_FRAMES):
                yield image
        for _ in range(END_FRAMES):
            yield image

    def frame(self, index: int, number: int, *, acting: bool) -> Image.Image:
        """One frame: a round of a decision, or the action that followed."""
        scene, thought = self.scene, self.scene.thoughts[index]
        fan = thought.fans[number]
        image = Image.new("RGB", (WIDTH, self.height + self.height % 2), PAPER)
        header(image, scene, f"{scene.counted(thought)}, {scene.search(thought)}", 860)
        self._phase(image, thought, number, acting)
        strokes = scene.fan_strokes(thought, fan, chosen=acting, came=acting)
        image.paste(self.panel.draw(strokes, best_score(fan)), (self.left, HEADER))
        size, top = (self.inner, ACTIONS), HEADER + FAN + GAP
        more = f" (the first of {scene.action.size})" if scene.action.size > 1 and not scene.action.is_discrete else ""
        title = "Actions: the more elites, the darker" if scene.action.is_discrete else f"Action{more}"
        image.paste(action_panel(scene, thought, fan, size, chosen=acting, small=False, title=title), (self.left, top))
        image.paste(timeline(scene, index, (self.inner, TIMELINE), upto=True), (self.left, top + ACTIONS + GAP))
        self._pictures(image, thought, acting)
        legend(image, "it plans again at every step")
        return image

    def _phase(self, image: Image.Image, thought: Thought, number: int, acting: bool) -> None:
        """The pill at the top right: which round, or the action."""
        text = "ACTING" if acting else round_names(thought)[number].upper()
        size, colour = (236, 52), DREAM if acting else INK
        at = (WIDTH - MARGIN - size[0], 26)
        paste(image, rounded(size, 26, colour), at)
        write(image, (at[0] + 26, at[1] + 27), text, 22, CARD, bold=True, anchor="lm")
        if thought.sizes[0] > 1 and not acting:
            write(image, (at[0] + size[0] - 26, at[1] + 27), f"of {thought.sizes[0]}", 20, CARD, anchor="rm")

    def _pictures(self, image: Image.Image, thought: Thought, acting: bool) -> None:
        """What is seen now, and below it what the chosen plan leads to."""
        if self.tile is None:
            return
        scene, step = self.scene, thought.step
        planned = scene.planned(thought, thought.horizon) if acting else None
        top = HEADER
        expected = f"In {thought.horizon} steps, as planned" if acting else "Planning …"
        for name, colour, array in (
            ("Now", INK, scene.came(step)),
            (expected, CHOSEN if acting else QUIET, planned),
        ):
            write(image, (MARGIN, top + 26), name, 21, colour, bold=True)
            left = MARGIN + (COLUMN - self.tile[0]) // 2
            edge = CHOSEN if array is not None and colour == CHOSEN else EDGE
            frame = rounded((self.tile[0] + 8, self.tile[1] + 8), 8, CARD, edge, 4)
            paste(image, frame, (left - 4, top + CAPTION - 4))
            if array is not None:
                image.paste(picture(array, self.tile), (left, top + CAPTION))
            top += CAPTION + self.tile[1] + 16
