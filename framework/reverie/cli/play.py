"""`reverie play RUN`: reality and dream side by side, under the keys of a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.console import clean, current_plugins, say

if TYPE_CHECKING:
    from reverie.dreaming.session import PlaySession


def play(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Another planner or environment, such as env.time_limit=1000."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Play in a browser, on 127.0.0.1 only.")] = False,
    temperature: Annotated[float, typer.Option(help="Of the dream, above 0.")] = 1.0,
    horizon: Annotated[
        int, typer.Option(min=0, help="Steps after which the dream wakes up to what is real; 0 never.")
    ] = 0,
    threshold: Annotated[float, typer.Option(help="Error above which the two have parted.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the first episode.")] = 0,
    speed: Annotated[int, typer.Option(min=1, max=60, help="Steps per second, in the terminal.")] = 12,
    port: Annotated[int, typer.Option(min=0, max=65535, help="In the browser; 0 takes a free one.")] = 0,
    checkpoint: Annotated[str | None, typer.Option(metavar="NAME", help="By default the newest.")] = None,
) -> None:
    """Play a run's environment and its dream at once, under the same keys, and see where they part.

    Errors are in standard deviations of what was observed (of images, in tenths of the range of brightness).
    """
    from reverie.dreaming.session import PlaySession
    from reverie.evaluation.curve import title_of
    from reverie.evaluation.reopen import reopen
    from reverie.training.memory import keep_freed_memory

    keep_freed_memory()
    opened = reopen(run, overrides or [], checkpoint=checkpoint, plugins=current_plugins())
    session = PlaySession(opened, temperature=temperature, horizon=horizon, threshold=threshold, seed=seed)
    title = clean(f"{title_of(opened.recipe)} · {run.name}")
    try:
        if browser:
            _serve(session, title, port)
        else:
            from reverie.dreaming.terminal import TerminalPlayer

            TerminalPlayer(session, title, speed).play()
    finally:
        session.close()


def _serve(session: "PlaySession", title: str, port: int) -> None:
    from reverie.dreaming.server import PlayServer
    from reverie.errors import ReverieError

    try:
        server = PlayServer(session, title, port)
    except OSError as error:
        raise ReverieError(f"port {port} of 127.0.0.1 cannot be taken: {error.strerror or error}") from error
    say(f"play here    {server.url}")
    say("only this machine can open it, and only with this address; Ctrl-C ends it", "dim")
    with server:
        server.serve_forever()
