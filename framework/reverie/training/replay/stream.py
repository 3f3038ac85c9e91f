"""One stream of rows: finished chunks on disk, and a tail that grows in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from reverie.training.replay.columns import Columns, Layout, empty, size_of
from reverie.training.replay.files import read_chunk, write_chunk
from reverie.training.replay.mark import ChunkMark

FIRST_ROOM = 64


class Cache:
    """Chunks held in memory, the least recently used leaving first. One chunk is always allowed.

    Args:
        limit: bytes.
    """

    def __init__(self, folder: Path, layout: Layout, limit: int) -> None:
        self.folder = folder
        self.layout = layout
        self.limit = limit
        self.bytes = 0
        self.loads = 0
        self._held: OrderedDict[str, Columns] = OrderedDict()

    def get(self, chunk: ChunkMark) -> Columns:
        """The columns of a chunk, from memory or from disk."""
        held = self._held.get(chunk.name)
        if held is not None:
            self._held.move_to_end(chunk.name)
            return held
        self.loads += 1
        columns = read_chunk(self.folder, chunk, self.layout)
        self.put(chunk, columns)
        return columns

    def put(self, chunk: ChunkMark, columns: Columns) -> None:
        self.drop(chunk)
        self._held[chunk.name] = columns
        self.bytes += size_of(columns)
        while self.bytes > self.limit and len(self._held) > 1:
            _, old = self._held.popitem(last=False)
            self.bytes -= size_of(old)

    def drop(self, chunk: ChunkMark) -> None:
        old = self._held.pop(chunk.name, None)
        if old is not None:
            self.bytes -= size_of(old)

    def clear(self) -> None:
        self._held.clear()
        self.bytes = 0


@dataclass
class Tail:
    """The rows after the last finished chunk.

    Args:
        start: number of its first row within the stream.
        rows: how many there are.
        columns: with room for more.
        durable: the file that holds exactly these rows, if one does.
    """

    start: int
    rows: int
    columns: Columns
    durable: ChunkMark | None = None


class Stream:
    """Rows of one environment, in order.

    Args:
        index: its number.
        chunk: rows per finished chunk file.
    """

    def __init__(self, index: int, folder: Path, layout: Layout, chunk: int, cache: Cache) -> None:
        self.index = index
        self.folder = folder
        self.layout = layout
        self.chunk = chunk
        self.cache = cache
        self.full: list[ChunkMark] = []
        self.starts: list[int] = []  # of the full chunks, for bisection
        self.tail = Tail(0, 0, {})

    @property
    def first(self) -> int:
        """Number of the oldest row that is kept."""
        return self.starts[0] if self.starts else self.tail.start

    @property
    def end(self) -> int:
        """Number of the row to come."""
        return self.tail.start + self.tail.rows

    def __len__(self) -> int:
        return self.end - self.first

    def append(self, columns: Columns) -> None:
        """Take rows; a chunk that becomes full goes to disk at once."""
        count = len(columns["step_id"])
        taken = 0
        while taken < count:
            tail = self.tail
            part = min(count - taken, self.chunk - tail.rows)
            self._make_room(tail.rows + part)
            for name, target in tail.columns.items():
                target[tail.rows : tail.rows + part] = columns[name][taken : taken + part]
            tail.rows += part
            tail.durable = None
            taken += part
            if tail.rows == self.chunk:
                self._finish()

    def flush(self) -> list[ChunkMark]:
        """Make the tail durable, under a new name; all files of this stream in order."""
        tail = self.tail
        if tail.rows and tail.durable is None:
            tail.durable = write_chunk(self.folder, self.index, tail.start, self._written())
        return [*self.full, *([tail.durable] if tail.durable else [])]

    def forget_oldest(self) -> ChunkMark | None:
        """Let the oldest finished chunk go; None where there is none."""
        if not self.full:
            return None
        self.starts.pop(0)
        gone = self.full.pop(0)
        self.cache.drop(gone)
        return gone

    def restore(self, chunks: list[ChunkMark]) -> None:
        """Hold exactly the rows of these files, which follow one another."""
        self.full = [chunk for chunk in chunks if chunk.rows == self.chunk]
        self.starts = [chunk.start for chunk in self.full]
        rest = [chunk for chunk in chunks if chunk.rows != self.chunk]
        end = chunks[-1].start + chunks[-1].rows if chunks else 0
        self.tail = Tail(end, 0, {})
        if rest:
            columns = read_chunk(self.folder, rest[-1], self.layout)
            self.tail = Tail(rest[-1].start, 0, {})
            self.append(columns)
            self.tail.durable = rest[-1]

    def _written(self) -> Columns:
        return {name: array[: self.tail.rows] for name, array in self.tail.columns.items()}

    def _make_room(self, rows: int) -> None:
        tail = self.tail
        room = len(tail.columns["step_id"]) if tail.columns else 0
        if room >= rows:
            return
        grown = empty(self.layout, min(self.chunk, max(rows, 2 * room, FIRST_ROOM)))
        for name, array in tail.columns.items():
            grown[name][: tail.rows] = array[: tail.rows]
        tail.columns = grown

    def _finish(self) -> None:
        tail = self.tail
        written = write_chunk(self.folder, self.index, tail.start, tail.columns)
        self.full.append(written)
        self.starts.append(tail.start)
        self.cache.put(written, tail.columns)
        self.tail = Tail(tail.start + tail.rows, 0, {})
