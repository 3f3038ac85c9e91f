"""What every verb shares: safe output, and the plugins that the global options ask for."""

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from reverie.errors import PluginError, Problem, ReverieError

if TYPE_CHECKING:
    from reverie.extension.manager import Plugins
    from reverie.extension.report import PluginRecord

_PIPED_WIDTH = 160  # characters per line where nobody looks at a terminal


class _Console(Console):
    """Writes where `sys.stdout` or `sys.stderr` points at the time, and does not fold what is piped into a file."""

    def __init__(self, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    @property
    def size(self) -> ConsoleDimensions:
        found = super().size
        if self.is_terminal or "COLUMNS" in os.environ:
            return found
        return ConsoleDimensions(max(_PIPED_WIDTH, found.width), found.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


console = _Console(stderr=False)
"""What a verb has to say. With `--json`, only JSON goes here."""

error_console = _Console(stderr=True)
"""Errors, warnings and hints."""


def clean(text: object, *, lines: bool = False) -> str:
    """Text from a recipe, plugin or file, with everything made visible that could steer a terminal.

    Control and format characters (escape sequences, carriage returns, text that runs backwards, zero-width ones) become
    escapes such as `\\x1b`.

    Args:
        text: anything; `str` is taken of it.
        lines: keep line breaks and tabs (for whole messages, not for names).
    """
    return "".join(_visible(character, lines) for character in str(text))


def _visible(character: str, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def styled(text: object, style: str = "", *, lines: bool = False) -> Text:
    """`clean(text)` in a style; never read as rich's markup."""
    return Text(clean(text, lines=lines), style=style)


def say(text: "str | Text" = "", style: str = "", *, error: bool = False) -> None:
    """Print one message, cleaned, folded only by the terminal (so that paths stay whole)."""
    target = error_console if error else console
    target.print(text if isinstance(text, Text) else styled(text, style, lines=True), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    say(Text.assemble(("warning: ", "bold yellow"), styled(text, lines=True)), error=True)


def table(*columns: str, whole: int = 1) -> Table:
    """An empty table in the house style. Fill it with `styled` cells.

    Args:
        columns: their headings.
        whole: how many of the first columns hold names, which are never broken over two lines.
    """
    made = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        made.add_column(name, overflow="fold", no_wrap=number < whole)
    return made


def print_json(data: Any) -> None:
    """Print data as JSON to stdout: nothing else goes there in a verb with `--json`.

    Escapes everything that is not ASCII, so that no name can steer a terminal. Paths become text.
    """
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False, default=_plain)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_error(error: ReverieError) -> None:
    """Print an error to stderr: every problem that it carries, with place, reason and fix."""
    problems: Sequence[Problem] = getattr(error, "problems", None) or []
    if not problems and (single := getattr(error, "problem", None)) is not None:
        problems = [single]
    if not problems:
        head, _, rest = str(error).partition("\n")
        say(Text.assemble(("error: ", "bold red"), styled(head)), error=True)
        if rest:
            say(rest, error=True)
        return
    if len(problems) > 1:
        say(Text.assemble(("error: ", "bold red"), f"{len(problems)} problems\n"), error=True)
    for number, problem in enumerate(problems):
        _print_problem(problem, alone=len(problems) == 1)
        if number + 1 < len(problems):
            say(error=True)


def _print_problem(problem: Problem, *, alone: bool) -> None:
    place = styled(f"{problem.where}: ", "cyan") if problem.where else Text()
    mark = Text("error: ", "bold red") if alone else Text("- ", "bold red")
    say(Text.assemble(mark, place, styled(problem.what, "bold", lines=True)), error=True)
    for label, text, style in (("why", problem.why, "dim"), ("fix", problem.fix, "green")):
        if text:
            say(Text.assemble("    ", (f"{label}: ", style), styled(text, lines=True)), error=True)


@dataclass(frozen=True)
class GlobalOptions:
    """The options that stand before (or anywhere after) the verb.

    Args:
        files: one-file plugins, `--plugin FILE`.
        disabled: plugins that are not imported, `--no-plugin NAME`.
        debug: show tracebacks.
    """

    files: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    debug: bool = False


_options = GlobalOptions()
_plugins: "Plugins | None" = None


def configure(options: GlobalOptions) -> None:
    """Set the global options of this command, and forget the plugins of an earlier one."""
    global _options, _plugins
    _options, _plugins = options, None


def global_options() -> GlobalOptions:
    """The global options of this command."""
    return _options


def current_plugins(*, strict: bool = True) -> "Plugins":
    """The plugins that this command works with; loaded once, on the first call.

    Args:
        strict: warn about plugins that could not be loaded, and refuse a broken file of `--plugin`. The verbs that list
            plugins show them instead.

    Raises:
        PluginError: if a file of `--plugin` does not exist or (when strict) does not load, or if `--no-plugin` names
            a plugin that does not exist.
    """
    global _plugins
    if _plugins is None:
        from reverie.extension.manager import load_plugins

        _plugins = load_plugins(_options.disabled, _options.files)
        _refuse_unmatched(_plugins)
        if strict:
            _report_failures(_plugins.failures())
    return _plugins


def _refuse_unmatched(plugins: "Plugins") -> None:
    """A misspelt `--no-plugin` is an error; a leftover of the environment variable is not."""
    from reverie.extension.names import listing, suggest

    for name in _options.disabled:
        if name in plugins.unmatched:
            names = [written for record in plugins.records for written in (record.name, record.qualified)]
            hint = suggest(name, names) or f"plugins: {listing(record.name for record in plugins.records)}"
            raise PluginError(str(Problem(what=f"--no-plugin: there is no plugin {name!r}", fix=hint)))


def _report_failures(failures: "Sequence[PluginRecord]") -> None:
    for record in failures:
        if record.is_local:
            raise PluginError(f"the {record.origin} could not be loaded: {record.error}\n{record.traceback}".rstrip())
        warn(f"the {record.origin} could not be loaded: {record.error} (see `reverie plugins doctor`)")


def make_output_safe(streams: Sequence[TextIO | Any]) -> None:
    """A character that the terminal's encoding lacks is escaped rather than fatal."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
