"""What the verbs share that open a run, play it and write a film: `reverie dream`, `reverie plan`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from reverie.cli.console import say
from reverie.cli.evaluate import Choice

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Another planner or environment, such as planner=cem."),
]
FirstSeed = Annotated[
    int | None, typer.Option(min=0, help="Of the first episode.", show_default="the recipe's evaluation seed")
]
FramesPerSecond = Annotated[int, typer.Option(min=1, max=60, help="Frames per second.")]
LatentMode = Annotated[Choice, typer.Option(help="Most likely latents and actions, or drawn ones.")]
Accelerator = Annotated[str, typer.Option("--accelerator", metavar="cpu|gpu|auto", help="Where the agent computes.")]
Checkpoint = Annotated[str | None, typer.Option(metavar="NAME", help="By default the newest.")]


def say_notes(notes: Iterable[str]) -> None:
    """What is missing in the picture, and why."""
    for note in notes:
        say(f"note: {note}", "dim")


def literal(choice: Choice) -> Literal["mode", "sample"]:
    """How the framework writes it."""
    return "sample" if choice is Choice.sample else "mode"
