"""`reverie curve RUN`: the learning curve as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.console import current_plugins, say


def curve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .png, .svg or .pdf file.", show_default="RUN/curve.png")
    ] = None,
    random: Annotated[bool, typer.Option(help="Play a random policy once, and draw its return as a line.")] = True,
) -> None:
    """Draw a run's learning curve: evaluations, collected episodes, and what a random policy gets."""
    from reverie.evaluation.curve import write_curve

    say(f"learning curve {write_curve(run, out, random=random, plugins=current_plugins())}")
