"""`reverie plan RUN`: watch a planner think."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.console import current_plugins, say
from reverie.cli.evaluate import Choice
from reverie.cli.films import (
    Accelerator,
    Checkpoint,
    FirstSeed,
    FramesPerSecond,
    LatentMode,
    Overrides,
    RunFolder,
    literal,
    say_notes,
)

if TYPE_CHECKING:
    from reverie.evaluation.planning import PlanPictures


def plan(
    run: RunFolder,
    overrides: Overrides = None,
    seed: FirstSeed = None,
    steps: Annotated[int, typer.Option(min=1, help="Decisions that are played and filmed.")] = 40,
    at: Annotated[
        int | None,
        typer.Option(min=0, help="The decision on the picture, from 0.", show_default="where most is at stake"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="An .mp4 or .gif film, or a .png picture.", show_default="RUN/videos/plan.mp4"
        ),
    ] = None,
    film: Annotated[bool, typer.Option(help="Make the film besides the picture.")] = True,
    fps: FramesPerSecond = 12,
    mode: LatentMode = Choice.mode,
    checkpoint: Checkpoint = None,
    accelerator: Accelerator = "cpu",
) -> None:
    """Watch a planner think.

    Plays an episode and draws, for every decision, the plans that were considered round by round, the elites, the plan
    that was chosen, what the model expected of it and what then happened.
    """
    from reverie.evaluation.planning import plan as make
    from reverie.training.memory import keep_freed_memory

    keep_freed_memory()
    found = make(
        run, overrides or [], seed=seed, steps=steps, at=at, out=out, film=film, fps=fps, mode=literal(mode),
        checkpoint=checkpoint, plugins=current_plugins(), accelerator=accelerator,
    )  # fmt: skip
    say_notes(found.notes)
    say(_verdict(found))
    say(f"decision {found.step}     {found.picture}")
    if found.film is not None:
        say(f"film           {found.film}")


def _verdict(found: "PlanPictures") -> str:
    """What plans promised, beside what came."""
    verdict = found.verdict
    correlation = "" if verdict.correlation is None else f", correlation {verdict.correlation:.2f}"
    return (
        f"reward over the next {found.horizon} steps: planned {verdict.planned.mean():.4g}, "
        f"came {verdict.came.mean():.4g} "
        f"(means of {len(verdict.came)} decisions; mean difference {verdict.error:.3g}{correlation})"
    )
