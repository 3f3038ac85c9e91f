"""`reverie plan RUN`: watch a planner think."""

from pathlib import Path
from typing import Annotated, Any

import typer

from reverie.cli.console import current_plugins, say
from reverie.cli.evaluate import Choice


def plan(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Another planner or environment, such as planner=cem."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the episode.", show_default="the recipe's evaluation seed")
    ] = None,
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
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second.")] = 12,
    mode: Annotated[Choice, typer.Option(help="Most likely latents, or drawn ones.")] = Choice.mode,
    checkpoint: Annotated[str | None, typer.Option(metavar="NAME", help="By default the newest.")] = None,
) -> None:
    """Watch a planner think.

    Plays an episode and draws, for every decision, the plans that were considered round by round, the elites, the plan
    that was chosen, what the model expected of it and what then happened.
    """
    from reverie.evaluation.planning import plan as make

    chosen: Any = mode.value
    found = make(
        run,
        overrides or [],
        seed=seed,
        steps=steps,
        at=at,
        out=out,
        film=film,
        fps=fps,
        mode=chosen,
        checkpoint=checkpoint,
        plugins=current_plugins(),
    )
    for note in found.notes:
        say(f"note: {note}", "dim")
    verdict = found.verdict
    correlation = "" if verdict.correlation is None else f", correlation {verdict.correlation:.2f}"
    say(
        f"reward over the next {found.horizon} steps: planned {verdict.planned.mean():.4g}, "
        f"came {verdict.came.mean():.4g} "
        f"(means of {len(verdict.came)} decisions; mean difference {verdict.error:.3g}{correlation})"
    )
    say(f"decision {found.step}     {found.picture}")
    if found.film is not None:
        say(f"film           {found.film}")
