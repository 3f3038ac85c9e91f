"""The high-water mark: which chunk files hold the replay at one moment. Part of every checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from reverie.errors import RunError

CHUNK_NAME = re.compile(r"stream-(\d{5})-(\d{12})-(\d{6})-([0-9a-f]{12})\.npz")
"""Stream, first row within the stream, rows, and the beginning of the file's sha256."""

MOST_STREAMS = 100_000
"""As many as five digits can number."""


@dataclass(frozen=True)
class ChunkMark:
    """One chunk file.

    Args:
        name: of the file in the replay's folder.
        rows: in it.
        sha256: of the file, in hexadecimal digits.
    """

    name: str
    rows: int
    sha256: str

    @property
    def stream(self) -> int:
        return int(self.name[7:12])

    @property
    def start(self) -> int:
        """The number of its first row within the stream, counted from the stream's beginning."""
        return int(self.name[13:25])


@dataclass(frozen=True)
class ReplayMark:
    """A moment of the replay, durable on disk.

    Args:
        chunks: the files, stream by stream, each stream in order and without gaps.
        next_id: the step id of the next row to come.
        streams: their number.
    """

    chunks: tuple[ChunkMark, ...]
    next_id: int
    streams: int

    @property
    def rows(self) -> int:
        """Rows that can be restored."""
        return sum(chunk.rows for chunk in self.chunks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and for `torch.save`."""
        chunks = [[chunk.name, chunk.rows, chunk.sha256] for chunk in self.chunks]
        return {"version": 1, "streams": self.streams, "next_id": self.next_id, "chunks": chunks}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The mark that `to_dict` wrote. The data may come from a stranger.

        Raises:
            RunError: for anything else: other versions, names that are no chunk files (and so could leave the folder),
                numbers that contradict each other.
        """
        try:
            if data["version"] != 1:
                raise RunError(f"the replay mark has version {data['version']!r}; this Reverie reads version 1")
            chunks = tuple(_chunk(*entry) for entry in data["chunks"])
            mark = cls(chunks, _count(data["next_id"]), _count(data["streams"]))
            if mark.streams > MOST_STREAMS:
                raise ValueError(f"{mark.streams} streams, more than their names can tell apart")
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the replay mark is malformed: {type(error).__name__}: {error}") from error
        mark._check_order()
        return mark

    def _check_order(self) -> None:
        expected: dict[int, int] = {}
        for chunk in self.chunks:
            start = expected.get(chunk.stream, chunk.start)
            if chunk.start != start or chunk.stream >= self.streams:
                raise RunError(f"the replay mark is malformed: chunk {chunk.name} does not follow the one before it")
            expected[chunk.stream] = start + chunk.rows


def _chunk(name: object, rows: object, sha256: object) -> ChunkMark:
    match = CHUNK_NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"{name!r} is not the name of a chunk file")
    if not isinstance(sha256, str) or re.fullmatch(r"[0-9a-f]{64}", sha256) is None or sha256[:12] != match[4]:
        raise ValueError(f"the checksum of {name} is malformed")
    if _count(rows) != int(match[3]) or rows == 0:
        raise ValueError(f"{name} cannot hold {rows!r} rows")
    return ChunkMark(str(name), int(match[3]), sha256)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**62:
        raise ValueError(f"{value!r} is not a number of rows")
    return value
