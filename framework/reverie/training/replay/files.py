"""Chunk files: written once, under a name that contains their checksum, and verified when they are read."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from reverie.errors import RunError
from reverie.training.checkpoint.plain import refuse_growth
from reverie.training.durable import free_bytes, remove, rename, sync_folder, write_durably
from reverie.training.replay.columns import Array, Columns, Layout
from reverie.training.replay.mark import CHUNK_NAME, ChunkMark
from reverie.training.untrusted import plain_file

STAGED = ".staged-"


def write_chunk(folder: Path, stream: int, start: int, columns: Columns) -> ChunkMark:
    """Write columns under a new name: staged, fsynced, renamed, folder fsynced. Existing files are never changed.

    Raises:
        RunError: when the disk or the folder does not take it, with the path and the bytes needed.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("/", "|"): array for name, array in columns.items()})  # type: ignore[arg-type] # stubs: the flag allow_pickle shadows the arrays' type
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    rows = len(columns["step_id"])
    name = f"stream-{stream:05d}-{start:012d}-{rows:06d}-{digest[:12]}.npz"
    path, staged = folder / name, folder / f"{STAGED}{name}"
    try:
        write_durably(staged, content)
        rename(staged, path)
        sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            remove(staged)
        raise RunError(
            f"{path}: the replay could not write this chunk, which needs {len(content):,} bytes "
            f"({free_bytes(folder)}): {error.strerror or error}"
        ) from error
    return ChunkMark(name, rows, digest)


def verify_chunk(folder: Path, chunk: ChunkMark) -> None:
    """Compare a file with its checksum.

    Raises:
        RunError: naming the file that is missing or changed.
    """
    path = folder / chunk.name
    try:
        plain_file(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: this chunk of the replay cannot be read: {error}") from error
    if digest != chunk.sha256:
        raise RunError(f"{path}: this chunk of the replay is corrupt (sha256 {digest}, expected {chunk.sha256})")


def read_chunk(folder: Path, chunk: ChunkMark, layout: Layout) -> Columns:
    """The columns of a file.

    Raises:
        RunError: naming the file that is missing, damaged, or not of this replay's layout.
    """
    path = folder / chunk.name
    try:
        size = plain_file(path)
        with zipfile.ZipFile(path) as archive:
            refuse_growth(archive.infolist(), size)
            return {name: _column(archive, name, chunk.rows, layout) for name in layout}
    except Exception as error:  # whatever a damaged or hostile file makes of the readers of zip files and headers
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise RunError(f"{path}: this chunk of the replay is damaged: {what}") from error


def _column(archive: zipfile.ZipFile, name: str, rows: int, layout: Layout) -> Array:
    """One column. What its header claims is compared with the layout before anything is allocated."""
    row, dtype = layout[name]
    expected = (rows, *row)
    with archive.open(name.replace("/", "|") + ".npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"column '{name}' is of another version of the format")
        shape, fortran, found = np.lib.format.read_array_header_1_0(file)
        if shape != expected or found != dtype or fortran:
            raise ValueError(f"column '{name}' is {found} {shape}, expected {dtype} {expected}")
        array: Array = np.frombuffer(bytearray(file.read()), np.uint8 if dtype.kind == "b" else dtype)
    if array.size != math.prod(expected):
        raise ValueError(f"column '{name}' has {array.size} values, expected {dtype} {expected}")
    if dtype.kind == "b":
        array = array != 0  # a byte that is neither 0 nor 1 would be no truth value
    elif dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"column '{name}' holds values that are not finite, which are never stored")
    return array.reshape(expected)


def chunk_files(folder: Path) -> list[Path]:
    """All chunk files of a folder, finished ones only, by name."""
    return sorted(path for path in folder.iterdir() if CHUNK_NAME.fullmatch(path.name))


def staged_files(folder: Path) -> list[Path]:
    """What a crash left half-written."""
    return sorted(path for path in folder.iterdir() if path.name.startswith(STAGED))
