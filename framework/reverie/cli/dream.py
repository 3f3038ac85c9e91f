"""`reverie dream RUN`: the dream video."""

from pathlib import Path
from typing import Annotated, Any

import typer

from reverie.cli.console import current_plugins, say
from reverie.cli.evaluate import Choice


def dream(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Another planner or environment, such as planner=cem."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes, one after the other.")] = 3,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Episode i uses this plus i.", show_default="the recipe's evaluation seed")
    ] = None,
    context: Annotated[int, typer.Option(min=1, help="Real steps that the model sees first.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Steps that it then imagines.")] = 56,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An .mp4, .gif or .png file.", show_default="RUN/videos/dream.mp4"),
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Steps per second.")] = 12,
    mode: Annotated[Choice, typer.Option(help="Most likely latents and actions, or drawn ones.")] = Choice.mode,
    checkpoint: Annotated[str | None, typer.Option(metavar="NAME", help="By default the newest.")] = None,
) -> None:
    """Make a video of what a run's world model imagines.

    It sees the first steps of an episode that it was not trained on, then goes on alone with the actions that were
    really played. The video shows the real episode, the dream and the error, and the reward real against predicted.
    """
    from reverie.evaluation.dream import dream as make

    chosen: Any = mode.value
    film = make(
        run,
        overrides or [],
        episodes=episodes,
        seed=seed,
        context=context,
        horizon=horizon,
        out=out,
        fps=fps,
        mode=chosen,
        checkpoint=checkpoint,
        plugins=current_plugins(),
    )
    for note in film.notes:
        say(f"note: {note}", "dim")
    say(f"dream video    {film.path}")
