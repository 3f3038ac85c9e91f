"""`reverie train`: a recipe becomes a trained agent."""

import os
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a path that ends in .yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Such as env=pendulum, seed=1, dynamics.deter=64 or decoder=null.")
    ] = None,
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="Show progress.")] = True,
) -> None:
    """Train a recipe in a new run folder.

    Common overrides: env=, seed=, run_dir=, budget.env_steps=, size=.
    """
    from reverie.cli.console import current_plugins, say

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # several devices: a warning that is a false alarm here
    from reverie.recipes.prepare import prepare

    prepared = prepare(recipe, overrides or [], plugins=current_plugins())
    from reverie.training.run import process_rank
    from reverie.training.run import train as train_recipe

    for note in prepared.notes if process_rank() == 0 else ():
        say(note, error=True)
    result = train_recipe(prepared, progress=progress)
    if process_rank() == 0:
        farewell(result.run_dir, result.status)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def farewell(run: Path, status: str) -> None:
    """Say where the run is and what one can do with it."""
    from reverie.cli.console import current_plugins, say

    files = [record.file for record in current_plugins().records if record.sha256 and record.state == "loaded"]
    # A run opens only with the one-file plugins that it was made with.
    flags = "".join(f" --plugin {file}" for file in files)
    if status == "completed":
        say(f"The run is in {run}. Look at it:")
        for verb in ("curve", "evaluate", "dream"):
            say(f"  reverie {verb} {run}{flags}")
    else:
        say(f"The run is in {run}, interrupted. Go on with it: reverie resume {run}{flags}")
