"""Files of a run that may come from a stranger: read only if they are plain, of a bounded size, and what they claim."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reverie.errors import RunError
from reverie.recipes.from_run import LOCK_FILE

LARGEST_JSON = 16 * 2**20
"""Bytes of a JSON file of ours: manifests and status files have a few thousand."""

LARGEST_TABLE = 256 * 2**20
"""Bytes of a table of metrics."""

MOST_ROWS, MOST_CELLS, LONGEST_LINE = 2**20, 2**24, 4 * 2**20
"""Of a table of metrics: rows, cells that are not empty, and characters of a line. A short cell takes ten times its
bytes in memory."""

DEEPEST_FOLDER = 16
"""Levels of folders in a run; ours have three, and loggers of others a few more."""


def require_run(run: Path) -> None:
    """Refuse what is no run, or one that holds links.

    Raises:
        RunError: saying what it is instead, and which run it lies in.
    """
    if not (run / LOCK_FILE).is_file():
        around = next((folder for folder in run.absolute().parents if (folder / LOCK_FILE).is_file()), None)
        if around is not None:
            raise RunError(f"{run} is not a run, but lies in one; write {around}")
        missing = "it is a file" if run.exists() else "there is no such folder"
        why = f"it has no {LOCK_FILE}" if run.is_dir() else missing
        if run.suffix == ".zip" and run.is_file():
            raise RunError(
                f"{run} is not a run, but a file: unpack an exported run by `reverie import {run}`; a model of "
                "Stable-Baselines3 can be evaluated by `reverie evaluate` with --sb3"
            )
        raise RunError(f"{run} is not a run: {why}; give the folder that `reverie train` named at its end")
    refuse_links(run)


def refuse_links(run: Path) -> None:
    """Refuse a run folder that holds links or special files: through them a run would read or write elsewhere.

    The folder itself may be reached through links.

    Raises:
        RunError: naming the first one, or the first folder that lies too deep.
    """
    waiting = [(run, 0)]
    while waiting:  # a loop: a chain of a thousand folders would be too deep for recursion, os.walk's too
        folder, depth = waiting.pop()
        if depth > DEEPEST_FOLDER:
            raise RunError(f"{folder} is refused: folders of a run are nested no deeper than {DEEPEST_FOLDER} levels")
        for path in _entries(folder):
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue  # removed meanwhile, as staged files are
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "a special file"
                raise RunError(f"{path} is {kind}: a run is used only if it holds nothing but plain files and folders")
            if stat.S_ISDIR(mode):
                waiting.append((path, depth + 1))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # removed meanwhile, or nobody may look into it


def plain_file(path: Path, largest: int | None = None) -> int:
    """The size of a file that is neither a link nor a device or pipe.

    Raises:
        OSError: if there is none.
        ValueError: if it is something else, or larger than `largest` bytes.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a plain file")
    if largest is not None and found.st_size > largest:
        raise ValueError(f"it has {found.st_size} bytes, more than the {largest} that are read")
    return found.st_size


def table_exists(path: Path) -> bool:
    """Whether a table of metrics is there to be read.

    Raises:
        RunError: if something else is there, or it is too large.
    """
    try:
        return plain_file(path, LARGEST_TABLE) >= 0
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a table of metrics, one after the other; none if it is missing.

    Raises:
        RunError: if it has too many, or too long ones.
    """
    if not table_exists(path):
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for number in range(MOST_ROWS + 1):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if number == MOST_ROWS or len(line) > LONGEST_LINE:
                what = f"more than {MOST_ROWS} lines" if number == MOST_ROWS else "a line that is too long"
                raise RunError(f"{path} is not a table of metrics: it has {what}")
            yield line


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV table with their cells that are not empty, one after the other; none if it is missing.

    Raises:
        RunError: if it is no table, or would fill the memory.
    """
    cells = 0
    try:
        for row in csv.DictReader(read_lines(path)):
            found = {name: cell for name, cell in row.items() if name and cell and isinstance(cell, str)}
            cells += len(row)
            if cells > MOST_CELLS:
                raise RunError(f"{path} is not a table of metrics: it has more than {MOST_CELLS} cells")
            yield found
    except csv.Error as error:
        raise RunError(f"{path} is not a table of metrics: {error}") from error


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not JSON, not a plain file, or too large or too deep.
    """
    plain_file(path, largest)
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """JSON without NaN and infinity, which are no JSON.

    Raises:
        ValueError: for anything else, and for values nested too deep to be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number")
