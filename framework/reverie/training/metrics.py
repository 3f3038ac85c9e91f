"""Numbers on their way to a line: averages in memory, a table on disk that can be cut back to a checkpoint."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie.training.durable import append, remove, sync_file, sync_folder, write_atomically
from reverie.training.untrusted import read_lines, read_rows


class Averages:
    """Means since the last line. Tensors are added where they live and read only when a line is written."""

    def __init__(self) -> None:
        self._sums: dict[str, float | Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: float | Tensor) -> None:
        """One more value under `name`; tensors may have any shape and count by their mean."""
        if isinstance(value, Tensor):
            value = value.detach()
            value = (value.mean(dtype=torch.float32) if value.dim() else value).double()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means by name, in the order of first use; starts anew."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "sums": {name: float(total) for name, total in self._sums.items()},
            "counts": dict(self._counts),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo everything since `state()`."""
        self._sums = {str(name): float(total) for name, total in state["sums"].items()}
        self._counts = {name: max(1, int(state["counts"][name])) for name in self._sums}


class Table:
    """A CSV file of rows with a growing set of columns, which can be cut back to what a checkpoint knew.

    Lightning's CSVLogger deletes its file when a run is opened again, so this one is our own: rows are appended and
    flushed, and the file is rewritten (atomically) only when a new column appears.

    Args:
        path: of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.rows: list[dict[str, str]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        text = {name: _text(value) for name, value in row.items()}
        new = [name for name in text if name not in self.columns]
        self.columns += new
        self.rows.append(text)
        if new:
            write_atomically(self.path, self._rendered(self.rows, header=True))
        else:
            append(self.path, self._rendered([text], header=False))

    def sync(self) -> None:
        """Make what was written durable."""
        _sync(self.path)

    def state(self) -> dict[str, Any]:
        """Where the file ends now."""
        return {"rows": len(self.rows), "columns": list(self.columns)}

    def restore(self, state: Mapping[str, Any]) -> int:
        """Cut the file back to `state`; returns how many rows were dropped.

        Rows that the file should have and has not (it was deleted) cannot be brought back; the rest goes on.
        """
        found = list(read_rows(self.path))
        self.columns = [str(name) for name in state["columns"]]
        kept = found[: int(state["rows"])]
        self.rows = [{name: row[name] for name in self.columns if row.get(name)} for row in kept]
        if self.columns:
            write_atomically(self.path, self._rendered(self.rows, header=True))
        else:
            remove(self.path)
        return max(0, len(found) - int(state["rows"]))

    def _rendered(self, rows: Iterable[Mapping[str, str]], *, header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class Lines:
    """A file of JSON lines, which can be cut back to what a checkpoint knew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append one line."""
        append(self.path, json.dumps(entry) + "\n")
        self.count += 1

    def read(self) -> list[dict[str, Any]]:
        """All lines."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def sync(self) -> None:
        """Make what was written durable."""
        _sync(self.path)

    def state(self) -> int:
        """Where the file ends now."""
        return self.count

    def restore(self, state: int) -> int:
        """Cut the file back to `state` lines; returns how many were dropped."""
        lines = list(read_lines(self.path))
        if self.path.exists():
            write_atomically(self.path, "".join(lines[:state]))
        self.count = state
        return max(0, len(lines) - state)


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _sync(path: Path) -> None:
    """The content, and the name, which an append may have made."""
    if path.exists():
        sync_file(path)
        sync_folder(path.parent)
