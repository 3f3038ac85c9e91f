"""`reverie resume`: a run goes on where it stopped."""

import os
from pathlib import Path
from typing import Annotated

import typer


def resume(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    accelerator: Annotated[
        str | None,
        typer.Option(metavar="cpu|gpu|auto", help="Go on there.", show_default="where the recipe says"),
    ] = None,
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="Show progress.")] = True,
) -> None:
    """Go on with a run where its newest whole checkpoint is. Harmless for a run that is complete."""
    from reverie.cli.console import current_plugins, say

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # several devices: a warning that is a false alarm here
    from reverie.cli.train import farewell
    from reverie.training.run_folder import RunFolder, read_status

    RunFolder.open(run)
    if accelerator is not None:
        from reverie.training.devices import refuse_unknown

        refuse_unknown(accelerator)
    if read_status(run).get("status") == "completed":
        say(f"{run} is complete: nothing is left to do")
        return
    from reverie.training.run import process_rank
    from reverie.training.run import resume as resume_run

    result = resume_run(run, accelerator=accelerator, plugins=current_plugins(), progress=progress)
    if process_rank() == 0:
        farewell(result.run_dir, result.status)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
