"""Watch a planner think: a picture of one decision and a film of an episode's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reverie.errors import ReverieError
from reverie.evaluation.curve import title_of
from reverie.evaluation.dreaming import code_decoder
from reverie.evaluation.episodes import Mode
from reverie.evaluation.planning.film import PlanFilm
from reverie.evaluation.planning.page import page
from reverie.evaluation.planning.scene import Scene
from reverie.evaluation.planning.thoughts import Thought, Verdict, think, thoughts
from reverie.evaluation.recording import Recording
from reverie.evaluation.reopen import Opened, reopen
from reverie.evaluation.video import FORMATS, write_film
from reverie.extension.manager import Plugins

ROUNDS = 4
"""Rounds of a decision that are drawn."""


@dataclass(frozen=True)
class PlanPictures:
    """What was written.

    Args:
        picture, film: the files; None for a film that was not asked for.
        step: the decision on the picture, counted from 0.
        verdict: reward over the next steps at every decision, planned and as it came.
        horizon: how many steps that are.
        notes: what is missing in the pictures, and why.
    """

    picture: Path
    film: Path | None
    step: int
    verdict: Verdict
    horizon: int
    notes: list[str]


def plan(
    run: Path | str,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    steps: int = 40,
    at: int | None = None,
    out: Path | None = None,
    film: bool = True,
    fps: int = 12,
    mode: Mode = "mode",
    checkpoint: str | None = None,
    plugins: Plugins | None = None,
    accelerator: str = "cpu",
) -> PlanPictures:
    """Play an episode with a run's planner (or another one), and draw what it considered.

    Args:
        run: the folder of a trained run.
        overrides: another planner or environment, as for `reverie evaluate`.
        seed: of the episode; by default the evaluation's.
        steps: decisions that are played and filmed.
        at: the decision on the picture, from 0; by default the one at which most was at stake.
        out: the film, `.mp4` or `.gif` (the picture lies beside it as `.png`); or a `.png` for the picture alone. By
            default `videos/plan.mp4` in the run.
        film: whether a film is made.
        fps: frames per second.
        mode: whether latents are the most likely ones or drawn.
        checkpoint: by name; the newest by default.
        plugins: those to use.
        accelerator: where the agent computes.

    Raises:
        RunError: if the run has no world model, or its planner does not search.
        ReverieError: for a decision that was not made, and for a file of another kind.
    """
    if steps < 1 or fps < 1:
        raise ReverieError("steps and fps must be at least 1")
    if out is not None and out.suffix not in FORMATS:
        raise ReverieError(f"{out.name}: pictures are written as {', '.join(FORMATS)}, chosen by the file's ending")
    opened = reopen(run, overrides, checkpoint=checkpoint, plugins=plugins, accelerator=accelerator)
    first = opened.recipe.settings.evaluation.seed if seed is None else seed
    recording, decisions = think(opened.agent, opened.factory, first, steps, mode)
    found = thoughts(opened.agent, decisions, mode, ROUNDS)
    scene = _scene(opened, recording, found)
    index = _chosen(scene, found, at)
    target = out or opened.run / "videos" / "plan.mp4"
    picture = target if target.suffix == ".png" else target.with_suffix(".png")
    write_film(picture, iter([page(scene, index)]), fps)
    filmed = film and target.suffix != ".png"
    if filmed:
        write_film(target, PlanFilm(scene).frames(), fps)
    notes = [*opened.recipe.notes, *_missing(opened, scene)]
    return PlanPictures(picture, target if filmed else None, found[index].step, scene.verdict, scene.horizon, notes)


def _scene(opened: Opened, recording: Recording, found: Sequence[Thought]) -> Scene:
    agent, factory = opened.agent, opened.factory
    labels: dict[str, Sequence[str]] = {}
    for key, spec in agent.observation.vectors.items():
        known, size = factory.entry_labels(key), spec.shape[0]
        plain = [key] if size == 1 else [f"{key} {index}" for index in range(size)]
        labels[key] = known if known is not None and len(known) == size else plain
    name = opened.planner or "planner"
    return Scene(title_of(opened.recipe), name, recording, found, agent.action, factory, labels)


def _chosen(scene: Scene, found: Sequence[Thought], at: int | None) -> int:
    """The decision on the picture: the asked one, or the one with most at stake among those whose end is known."""
    if at is None:
        whole = [i for i, thought in enumerate(found) if thought.step + thought.horizon < len(scene.recording)]
        return max(whole or range(len(found)), key=lambda index: found[index].spread)
    steps = [thought.step for thought in found]
    if at not in steps:
        raise ReverieError(f"there is no decision {at}: this episode has decisions {steps[0]} to {steps[-1]}")
    return steps.index(at)


def _missing(opened: Opened, scene: Scene) -> list[str]:
    notes = []
    if code_decoder(opened.agent) is None:
        notes.append("no decoder: fans show the reward so far, and there are no pictures of what was expected")
    elif scene.planned(scene.thoughts[0], 0) is None:
        notes.append("this environment cannot draw the states that its vectors stand for: there are no pictures")
    return notes
