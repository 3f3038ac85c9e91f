"""The dream video: what a trained world model saw, what it imagined afterwards, and how wrong it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.sampling import Sampling
from reverie.errors import ReverieError, RunError
from reverie.evaluation.curve import title_of
from reverie.evaluation.dreaming import Dream, code_decoder, dream_of
from reverie.evaluation.episodes import Mode, evaluating, preserved_randomness
from reverie.evaluation.recording import Recording, record
from reverie.evaluation.reopen import Opened, reopen
from reverie.evaluation.storyboard import Pictures, Scene, Storyboard, charts_of
from reverie.evaluation.video import write_film
from reverie.extension.manager import Plugins

Array = NDArray[Any]

HOLD = 10
"""Frames for which the end of each episode stays."""
IMAGES = 2
"""Most image entries that are shown."""


@dataclass(frozen=True)
class Film:
    """A dream video that was written.

    Args:
        path: of the file.
        frames: how many.
        dreams: one per episode.
        notes: what is missing in the picture, and why.
    """

    path: Path
    frames: int
    dreams: list[Dream]
    notes: list[str]


def dream(
    run: Path | str,
    overrides: Sequence[str] = (),
    *,
    episodes: int = 3,
    seed: int | None = None,
    context: int = 8,
    horizon: int = 56,
    out: Path | None = None,
    fps: int = 12,
    mode: Mode = "mode",
    checkpoint: str | None = None,
    plugins: Plugins | None = None,
) -> Film:
    """Play held-out episodes with a run's policy, dream them open-loop, and write the video. A run that learned from
    recorded data and has no environment dreams the episodes that it held out.

    Args:
        run: the folder of a trained run.
        overrides: another planner or environment, as for `reverie evaluate`.
        episodes: shown one after the other.
        seed: episode i is reset with this plus i; by default the evaluation's seed.
        context: steps that the model sees (fewer in episodes so short that less than half would be dreamed).
        horizon: steps that it then imagines, from the actions that were really played.
        out: `.mp4`, `.gif` or `.png`; by default `videos/dream.mp4` in the run.
        fps: steps per second.
        mode: whether the policy's and the dream's latents are the most likely ones or drawn.
        checkpoint: by name; the newest by default.
        plugins: those to use.

    Raises:
        RunError: if the run has no world model, or one that predicts nothing that can be shown.
    """
    if episodes < 1 or context < 1 or horizon < 1 or fps < 1:
        raise ReverieError("episodes, context, horizon and fps must be at least 1")
    opened = reopen(run, overrides, checkpoint=checkpoint, plugins=plugins)
    first = opened.recipe.settings.evaluation.seed if seed is None else seed
    if opened.plays_nowhere:
        recordings = [one.head(context + horizon) for one in opened.held_out()[:episodes]]
    else:
        seeds = range(first, first + episodes)
        recordings = record(opened.agent, opened.factory, seeds, mode=mode, max_steps=context + horizon - 1)
    dreams = [_dreamed(opened, recording, context, horizon, mode) for recording in recordings]
    scenes, notes = scenes_of(opened, dreams)
    target = out or opened.run / "videos" / "dream.mp4"
    return Film(target, write_film(target, _reel(scenes), fps), dreams, [*opened.recipe.notes, *notes])


def _dreamed(opened: Opened, recording: Recording, context: int, horizon: int, mode: Mode) -> Dream:
    sampling = Sampling(mode=mode, generators=[torch.Generator().manual_seed(recording.seed)])
    with preserved_randomness(recording.seed), evaluating(opened.agent):
        return dream_of(opened.agent, recording, fitting_context(len(recording), context, horizon), sampling=sampling)


def fitting_context(rows: int, context: int, horizon: int) -> int:
    """The context that an episode of so many rows leaves room for: at least half of it, or the horizon, is dreamed."""
    return max(1, min(context, rows - min(horizon, rows // 2)))


def scenes_of(opened: Opened, dreams: Sequence[Dream]) -> tuple[list[Scene], list[str]]:
    """What is drawn of each dream, and what is missing.

    Raises:
        RunError: if there is nothing to draw.
    """
    agent, factory = opened.agent, opened.factory
    labels = {key: _labels(factory, key, spec.shape[0]) for key, spec in agent.observation.vectors.items()}
    notes: list[str] = []
    if code_decoder(agent) is None:
        notes.append("no decoder: observations not shown")
    scenes = []
    for index, dreamt in enumerate(dreams):
        charts, left_out = charts_of(dreamt, labels)
        if not charts and not dreamt.obs:
            raise RunError("this recipe has no decoder and no reward, continue or value head: nothing can be shown")
        if left_out and not index:
            notes.append(f"{left_out} more entries are not shown")
        seen, dreamed = dreamt.context, len(dreamt) - dreamt.context
        subtitle = f"Episode {index + 1} of {len(dreams)}: {seen} real steps, then {dreamed} dreamed"
        title = title_of(opened.recipe)
        scenes.append(Scene(title, subtitle, dreamt, pictures_of(dreamt, factory), charts, "; ".join(notes)))
    return scenes, notes


def pictures_of(dreamt: Dream, factory: EnvironmentFactory) -> list[Pictures]:
    """Image entries; or drawings of what is observed, where the environment can draw it: vectors that stand for a
    state, and images whose channels are no colours."""
    images = [key for key, value in dreamt.obs.items() if value.ndim == 4]
    colours = [key for key in images if dreamt.obs[key].shape[-1] in (1, 3)]
    found = [] if colours else _drawings(dreamt, factory)
    shown = (colours or images)[:IMAGES]
    return found or [Pictures(key, list(dreamt.real.obs[key]), list(dreamt.obs[key])) for key in shown]


def _drawings(dreamt: Dream, factory: EnvironmentFactory) -> list[Pictures]:
    if not dreamt.obs or dreamt.obs.keys() != dreamt.real.obs.keys():
        return []
    real = [_drawn(factory, dreamt.real.obs, step) for step in range(len(dreamt))]
    dreamed = [_drawn(factory, dreamt.obs, step) for step in range(len(dreamt))]
    shown = [picture for picture in real if picture is not None]
    if len(shown) < len(real):
        return []
    blank = np.full_like(shown[0], 255)  # in place of a prediction that is not finite
    return [Pictures("state", shown, [blank if picture is None else picture for picture in dreamed])]


def _drawn(factory: EnvironmentFactory, obs: dict[str, Array], step: int) -> Array | None:
    return factory.render_observation({key: value[step] for key, value in obs.items()})


def _labels(factory: EnvironmentFactory, key: str, size: int) -> Sequence[str]:
    known = factory.entry_labels(key)
    if known is not None and len(known) == size:
        return known
    return [key] if size == 1 else [f"{key} {index}" for index in range(size)]


def _reel(scenes: Sequence[Scene]) -> Iterator[Image.Image]:
    for scene in scenes:
        for frame in Storyboard(scene).frames():
            yield frame
        for _ in range(HOLD):
            yield frame
