"""The replay: streams of rows on disk, sampled uniformly over start steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reverie.contracts.batch import Batch
from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import RunError
from reverie.recipes.schema import Replay as Settings
from reverie.training.durable import make_folder, remove
from reverie.training.replay.columns import OBSERVATION, Columns, columns_of, empty, layout_of
from reverie.training.replay.files import chunk_files, staged_files, verify_chunk
from reverie.training.replay.mark import ReplayMark
from reverie.training.replay.stream import Cache, Stream
from reverie.training.rows import Rows


@dataclass(frozen=True)
class Restored:
    """What `restore` found.

    Args:
        rows: that are there again.
        dropped_rows: in chunk files beyond the mark; the run collects them again.
        dropped_files: how many files those were. They stay on disk until `prune`.
    """

    rows: int
    dropped_rows: int
    dropped_files: int


class Replay:
    """Rows of several streams. Chunks may cross episode borders (`is_first` marks them), never streams.

    Args:
        folder: for the chunk files; made if missing. What lies in it counts only after `restore`.
        observation, action: what rows hold.
        streams: one per environment.
        settings: capacity, rows per chunk file, and memory.

    Raises:
        RunError: from every method, when files cannot be written or read, or are corrupt.
    """

    def __init__(
        self, folder: Path, observation: ObservationSpec, action: ActionSpec, streams: int, settings: Settings
    ) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self.next_id = 0
        self._layout = layout_of(observation, action)
        self._entries = [
            (name, name.removeprefix(OBSERVATION)) for name in self._layout if name.startswith(OBSERVATION)
        ]
        try:
            make_folder(self.folder)
        except OSError as error:
            raise RunError(f"{self.folder}: the replay's folder cannot be made: {error}") from error
        self._cache = Cache(self.folder, self._layout, settings.memory_mb * 2**20)
        self._streams = [self._stream(index) for index in range(streams)]
        self._steps = 0

    @property
    def steps(self) -> int:
        """Rows that can be sampled, reset rows included."""
        return self._steps

    @property
    def streams(self) -> int:
        return len(self._streams)

    @property
    def memory_bytes(self) -> int:
        """Bytes held: chunks in the cache and the tails of all streams."""
        return self._cache.bytes + sum(_held(stream) for stream in self._streams)

    @property
    def disk_loads(self) -> int:
        """How often a chunk had to be read from disk to be sampled."""
        return self._cache.loads

    def add(self, stream: int, rows: Rows) -> None:
        """Append rows to a stream and give them their step ids.

        Raises:
            EnvironmentFault: for rows of another shape or dtype; nothing is added then.
            RunError: when a chunk that became full cannot be written. Its rows stay in memory, and the next call tries
                again.
        """
        count = len(rows)
        step_id = np.arange(self.next_id, self.next_id + count, dtype=np.int64)
        columns = columns_of(rows, self._layout, step_id)
        self.next_id += count
        self._steps += count
        self._streams[stream].append(columns)
        while self._steps > self.settings.capacity and self._forget():
            pass

    def can_sample(self, batch_size: int, length: int) -> bool:
        """Whether some stream holds `length` rows in a row. Chunks of a batch may overlap, so B does not matter."""
        return batch_size > 0 and any(len(stream) >= length for stream in self._streams)

    def sample(self, batch_size: int, length: int, rng: np.random.Generator) -> Batch:
        """B chunks of T rows, every start step of every stream equally likely. Draws once from `rng`.

        Raises:
            RunError: while `can_sample` is false.
        """
        starts = np.array([max(0, len(stream) - length + 1) for stream in self._streams])
        total = int(starts.sum())
        if total == 0:
            raise RunError(f"the replay holds {self.steps} rows, too few for a chunk of {length}")
        ends = np.cumsum(starts)
        drawn = rng.integers(total, size=batch_size)  # (B,)
        which = np.searchsorted(ends, drawn, side="right")
        batch = empty(self._layout, batch_size * length)
        for b, (index, number) in enumerate(zip(which.tolist(), drawn.tolist(), strict=True)):
            stream = self._streams[index]
            self._copy(stream, stream.first + number - int(ends[index] - starts[index]), length, batch, b * length)
        return self._batch(batch, batch_size, length)

    def flush(self) -> ReplayMark:
        """Make every row durable. The mark says which files hold them; it belongs into the checkpoint."""
        chunks = [chunk for stream in self._streams for chunk in stream.flush()]
        return ReplayMark(tuple(chunks), self.next_id, len(self._streams))

    def restore(self, mark: ReplayMark) -> Restored:
        """Hold exactly the rows of `mark`, after comparing every file with its checksum.

        Raises:
            RunError: naming the first file that is missing or corrupt, or for a mark of another number of streams. The
                replay is unchanged then.
        """
        if mark.streams != len(self._streams):
            raise RunError(
                f"the replay has {len(self._streams)} streams, but the checkpoint's had {mark.streams}: "
                "environments.count was changed"
            )
        too_long = [chunk.name for chunk in mark.chunks if chunk.rows > self.settings.chunk]
        if too_long:
            raise RunError(f"{too_long[0]} holds more rows than replay.chunk={self.settings.chunk}: it was changed")
        if mark.chunks and not chunk_files(self.folder):
            raise RunError(
                f"{self.folder} is empty, but the checkpoint needs {mark.rows} rows of replay: this run came without "
                "its replay (`reverie export --replay` takes it along). It can be evaluated, dreamed and loaded"
            )
        for chunk in mark.chunks:
            verify_chunk(self.folder, chunk)
        restored = []
        for index in range(mark.streams):
            stream = self._stream(index)
            stream.restore([chunk for chunk in mark.chunks if chunk.stream == index])
            restored.append(stream)
        self._cache.clear()
        self._streams = restored
        self._steps = mark.rows
        self.next_id = mark.next_id
        return self._beyond(mark)

    def prune(self, kept: Iterable[ReplayMark]) -> int:
        """Delete the files that neither the replay itself nor any of the kept checkpoints' marks needs; how many."""
        needed = {chunk.name for mark in kept for chunk in mark.chunks}
        needed |= {chunk.name for stream in self._streams for chunk in stream.full}
        needed |= {stream.tail.durable.name for stream in self._streams if stream.tail.durable}
        gone = [path for path in chunk_files(self.folder) if path.name not in needed] + staged_files(self.folder)
        for path in gone:
            remove(path)
        return len(gone)

    def _stream(self, index: int) -> Stream:
        return Stream(index, self.folder, self._layout, self.settings.chunk, self._cache)

    def _forget(self) -> bool:
        """Let the finished chunk with the oldest rows go, without deleting its file; false if there is none."""
        candidates = [stream for stream in self._streams if stream.full]
        if not candidates:
            return False
        oldest = min(candidates, key=lambda stream: (stream.first, stream.index))
        gone = oldest.forget_oldest()
        self._steps -= gone.rows if gone else 0
        return gone is not None

    def _copy(self, stream: Stream, row: int, length: int, batch: Columns, at: int) -> None:
        """Copy rows `row` ... `row + length - 1` of a stream to `batch[at:]`."""
        end = row + length
        while row < end:
            if row >= stream.tail.start:
                source, offset, stop = stream.tail.columns, row - stream.tail.start, end
            else:
                index = bisect_right(stream.starts, row) - 1
                chunk = stream.full[index]
                source, offset = self._cache.get(chunk), row - stream.starts[index]
                stop = min(end, stream.starts[index] + chunk.rows)
            count = stop - row
            for name, target in batch.items():
                target[at : at + count] = source[name][offset : offset + count]
            row, at = stop, at + count

    def _batch(self, columns: Columns, batch_size: int, length: int) -> Batch:
        tensors = {
            name: torch.from_numpy(array).view(batch_size, length, *array.shape[1:]) for name, array in columns.items()
        }  # (B, T, ...)
        # An episode whose environment could not be restored has no last row: the reset that follows shows its end.
        tensors["is_last"][:, :-1] |= tensors["is_first"][:, 1:]
        return Batch(
            obs={key: tensors[name] for name, key in self._entries},
            action=tensors["action"],
            reward=tensors["reward"],
            is_first=tensors["is_first"],
            is_terminal=tensors["is_terminal"],
            is_last=tensors["is_last"],
            step_id=tensors["step_id"],
        )

    def _beyond(self, mark: ReplayMark) -> Restored:
        """Count what lies on disk but not in the mark, newer than it."""
        named = {chunk.name for chunk in mark.chunks}
        ends = {chunk.stream: chunk.start + chunk.rows for chunk in mark.chunks}
        others = [path.name for path in chunk_files(self.folder) if path.name not in named]
        rows: dict[int, int] = {}
        files = 0
        for name in others:
            stream, end = int(name[7:12]), int(name[13:25]) + int(name[26:32])
            beyond = end - ends.get(stream, 0)
            if beyond > 0:
                files += 1
                rows[stream] = max(rows.get(stream, 0), beyond)
        return Restored(mark.rows, sum(rows.values()), files)


def _held(stream: Stream) -> int:
    return sum(array.nbytes for array in stream.tail.columns.values())
