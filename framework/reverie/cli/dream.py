"""`reverie dream RUN`: the dream video."""

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.console import current_plugins, say
from reverie.cli.evaluate import Choice
from reverie.cli.films import (
    Checkpoint,
    FirstSeed,
    FramesPerSecond,
    LatentMode,
    Overrides,
    RunFolder,
    literal,
    say_notes,
)


def dream(
    run: RunFolder,
    overrides: Overrides = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes, one after the other, each with the next seed.")] = 3,
    seed: FirstSeed = None,
    context: Annotated[int, typer.Option(min=1, help="Real steps that the model sees first.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Steps that it then imagines.")] = 56,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An .mp4, .gif or .png file.", show_default="RUN/videos/dream.mp4"),
    ] = None,
    fps: FramesPerSecond = 12,
    mode: LatentMode = Choice.mode,
    checkpoint: Checkpoint = None,
) -> None:
    """Make a video of what a run's world model imagines.

    It sees the first steps of an episode that it was not trained on, then goes on alone with the actions that were
    really played. The video shows the real episode, the dream and the error, and the reward real against predicted.
    """
    from reverie.evaluation.dream import dream as make

    film = make(
        run, overrides or [], episodes=episodes, seed=seed, context=context, horizon=horizon, out=out, fps=fps,
        mode=literal(mode), checkpoint=checkpoint, plugins=current_plugins(),
    )  # fmt: skip
    say_notes(film.notes)
    say(f"dream video    {film.path}")
