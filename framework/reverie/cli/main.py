"""The entry point `reverie`: global options, and verbs that are imported only when they are typed."""

import errno
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from reverie.cli.console import (
    GlobalOptions,
    configure,
    console,
    current_plugins,
    error_console,
    global_options,
    make_output_safe,
    print_error,
    say,
    styled,
    warn,
)
from reverie.errors import ReverieError


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        target: `"module:function"` or `"module:app"` (a `typer.Typer`), imported when the verb is typed.
        summary: its line in `reverie --help`.
        panel: the heading it stands under there.
    """

    target: str
    summary: str
    panel: str


_RUNS, _LOOK, _ANYWHERE = "Train and use agents", "Look around", "Options, anywhere in the command"

VERBS: dict[str, Verb] = {
    "train": Verb("reverie.cli.train:train", "Train a recipe, with overrides such as env=pendulum.", _RUNS),
    "check": Verb("reverie.cli.check:check", "Say everything that is wrong with a recipe, without training.", _RUNS),
    "resume": Verb("reverie.cli.resume:resume", "Go on with a run where it stopped.", _RUNS),
    "evaluate": Verb("reverie.cli.evaluate:evaluate", "Play episodes with a run's agent and report returns.", _RUNS),
    "curve": Verb("reverie.cli.curve:curve", "Draw a run's learning curve.", _RUNS),
    "dream": Verb("reverie.cli.dream:dream", "Make a video of what a run's world model imagines.", _RUNS),
    "plan": Verb("reverie.cli.plan:plan", "Watch a run's planner think: a picture and a film.", _RUNS),
    "play": Verb("reverie.cli.play:play", "Play a run's environment and its dream side by side.", _RUNS),
    "export": Verb("reverie.cli.export:export", "Pack a run into one file for somebody else.", _RUNS),
    "import": Verb("reverie.cli.import_:import_", "Unpack a run that somebody exported; nothing in it is run.", _RUNS),
    "recipes": Verb("reverie.cli.recipes:app", "List, show, copy and compare recipes.", _LOOK),
    "plugins": Verb("reverie.cli.plugins:app", "List, show and examine plugins.", _LOOK),
    "doctor": Verb("reverie.cli.doctor:doctor", "Check this installation: versions, video, rendering.", _LOOK),
}
"""Every verb, in the order of `--help`. A new verb is one line here and one file."""


class VerbGroup(TyperGroup):
    """The root command. It knows every verb's name and summary, and imports the module of the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, verb in VERBS.items():
            self.add_command(TyperCommand(name, help=verb.summary, short_help=verb.summary, rich_help_panel=verb.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return (name, _import_verb(name), rest) if name in VERBS else (name, command, rest)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help with what is imported already: typer's own formatter takes longer than all the rest."""
        say(Text.assemble(("Usage: ", "yellow"), "reverie [OPTIONS] VERB [ARGUMENTS]"))
        say()
        say(self.help or "")
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, verb in VERBS.items():
            panels.setdefault(verb.panel, []).append((name, verb.summary))
        options = [record for parameter in self.get_params(ctx) if (record := parameter.get_help_record(ctx))]
        for title, rows in {**panels, _ANYWHERE: options}.items():
            _print_panel(title, rows)
        say("`reverie VERB --help` explains a verb.", "dim")


def _print_panel(title: str, rows: Sequence[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold cyan", no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(styled(name), styled(text))
    console.print(Panel(grid, title=title, title_align="left", border_style="dim", width=min(console.width, 90)))


def _import_verb(name: str) -> Any:
    """The real command of a verb, from its module.

    Raises:
        ReverieError: if this installation does not have the verb.
    """
    verb = VERBS[name]
    module, _, attribute = verb.target.partition(":")
    if importlib.util.find_spec(module) is None:
        raise ReverieError(f"this installation does not have the verb {name!r} (no module {module})")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        app.command(name, help=found.__doc__ or verb.summary)(found)
        found = app
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=VerbGroup,
    name="reverie",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(help="Swappable parts for world models: short recipes become agents that learn by imagining.")
def _root(
    ctx: typer.Context,
    plugin: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Load a one-file plugin. May be repeated.")
    ] = None,
    no_plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Do not import a plugin. May be repeated."),
    ] = None,
    trace_plugins: Annotated[
        bool, typer.Option("--trace-plugins", help="Show every plugin with its version and file.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    configure(GlobalOptions(tuple(plugin or ()), tuple(no_plugin or ()), debug))
    if version:
        from reverie import __version__

        say(f"reverie {__version__}")
        raise typer.Exit
    if trace_plugins:
        from reverie.cli.plugins import trace

        trace(current_plugins(strict=False))
    if ctx.invoked_subcommand is None:
        if not trace_plugins:
            say(ctx.get_help())
        raise typer.Exit


_TAKE_VALUE = {"--plugin", "--no-plugin"}
_FLAGS = {"--trace-plugins", "--debug"}


def hoist(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the global options moved to the front, so that they may stand after the verb.

    Everything after `--` stays as it is.
    """
    front: list[str] = []
    rest: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            rest += [argument, *remaining]
            break
        if argument in _TAKE_VALUE:
            front += [argument, *remaining[:1]]
            del remaining[:1]
        elif argument in _FLAGS or argument.partition("=")[0] in _TAKE_VALUE:
            front.append(argument)
        else:
            rest.append(argument)
    return [*front, *rest]


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 for a finding, 2 for a user's mistake, 130 for Ctrl-C."""
    command = typer.main.get_command(app)
    try:
        command.main(args=hoist(arguments) or ["--help"], prog_name="reverie")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ReverieError as error:
        if global_options().debug:
            error_console.print_exception(show_locals=False)
        print_error(error)
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print_error(ReverieError(f"{str(error.filename)[:60]}...: a path cannot be so long"))
        return ReverieError.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def main() -> None:
    """The console script."""
    make_output_safe([sys.stdout, sys.stderr])
    warnings.showwarning = lambda message, *_, **__: warn(str(message))  # a plugin's text may be in it
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`head`) has gone; say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 1
    sys.exit(code)


if __name__ == "__main__":
    main()
