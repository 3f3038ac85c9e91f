"""Files that are either there in full or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target, fsync, rename over it, fsync the folder. A crash leaves the old file or the new one."""
    staged = path.with_name(f".{path.name}.new")
    write_durably(staged, content)
    staged.replace(path)
    sync_folder(path.parent)


def write_durably(path: Path, content: str | bytes) -> None:
    """Write and fsync; the name of the file is durable once its folder is synced."""
    with path.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """fsync a file that something else wrote."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make names in a folder (creations, renames, removals) durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
