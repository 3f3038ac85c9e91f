"""`reverie import FILE.zip [DIR]`: a run that somebody exported."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Written by `reverie export`.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The new run's folder; must not exist.", show_default="runs/FILE"),
    ] = None,
) -> None:
    """Unpack a run that somebody exported. Every member is checked first, and nothing in it is run."""
    from reverie.cli.console import say
    from reverie.training.archive import import_run

    made = import_run(file, folder)
    say(f"imported {file} into {made.run} ({made.checkpoint})")
    if not made.chunks:
        say("it came without its replay: it can be evaluated, dreamed and loaded, not resumed", "dim")
    for name in made.local_plugins:
        say(f"it needs the one-file plugin {name}: read that file before you give it to --plugin", "yellow")
    say(f"Next: reverie evaluate {made.run}")
