"""`reverie export RUN FILE.zip`: a run as one file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Written; must not exist.")],
    replay: Annotated[bool, typer.Option("--replay", help="Take the replay along, so that it can be resumed.")] = False,
) -> None:
    """Pack a run into one file for somebody else: recipe, metrics and the newest checkpoint.

    Pictures, videos and TensorBoard files stay behind: they can be made again. `provenance.json` goes along and tells
    the command, versions and paths of this machine.
    """
    from reverie.cli.console import say
    from reverie.training.archive import export_run

    made = export_run(run, file, replay=replay)
    say(f"exported {run} ({made.checkpoint}) to {made.path}")
    if not made.chunks:
        say("without its replay: it can be evaluated, dreamed and loaded, not resumed (--replay takes it along)", "dim")
