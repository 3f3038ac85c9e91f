"""Files that are either there in full or not at all. Every change that a run makes to its folder goes through here.

`watched` shows each change to a test before it is made: so that a process can be killed at any of them, and so that
the folder that any beginning of a run would have left can be built and opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

Kind = Literal["folder", "write", "append", "sync", "sync folder", "rename", "remove", "remove folder"]


@dataclass(frozen=True)
class Operation:
    """One change, about to be made.

    Args:
        kind: what it does. The content of a `write` is in the file once the `sync` that follows is announced.
        path: of the file or folder.
        target: the new name, of a `rename`.
        content: what is added, of an `append`.
    """

    kind: Kind
    path: Path
    target: Path | None = None
    content: bytes = b""


_watchers: list[Callable[[Operation], None]] = []


@contextmanager
def watched(watcher: Callable[[Operation], None]) -> Iterator[None]:
    """Inside, `watcher` is called before every change; what it raises takes the place of the change."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target, fsync, rename over it, fsync the folder. A crash leaves the old file or the new one."""
    staged = path.with_name(f".{path.name}.new")
    write_durably(staged, content)
    rename(staged, path)
    sync_folder(path.parent)


def write_durably(path: Path, content: str | bytes) -> None:
    """Write and fsync; the name of the file is durable once its folder is synced."""
    with open_durably(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_durably(path: Path) -> Iterator[IO[bytes]]:
    """A new file for something else to write into; fsynced at the end."""
    _announce(Operation("write", path))
    with path.open("wb") as file:
        yield file
        file.flush()
        _announce(Operation("sync", path))
        os.fsync(file.fileno())


def append(path: Path, text: str) -> None:
    """Add to the end of a file, which is made if missing. Durable only after `sync_file` and `sync_folder`."""
    content = text.encode()
    _announce(Operation("append", path, content=content))
    with path.open("ab") as file:
        file.write(content)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name in one step; a file of that name is replaced."""
    _announce(Operation("rename", source, target))
    source.replace(target)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder unless it is there."""
    if not path.is_dir():
        _announce(Operation("folder", path))
        path.mkdir(parents=parents, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    _announce(Operation("remove", path))
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it, one by one; links are removed, not followed."""
    if path.is_symlink():
        return remove(path)
    if not path.exists():
        return None
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove_folder(entry)
        else:
            remove(entry)
    _announce(Operation("remove folder", path))
    return path.rmdir()


def sync_file(path: Path) -> None:
    """fsync a file that something else wrote."""
    _announce(Operation("sync", path))
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make names in a folder (creations, renames, removals) durable."""
    _announce(Operation("sync folder", path))
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_bytes(path: Path) -> str:
    """What is free on the disk that `path` lies on, or would lie on, in words."""
    for place in (path, *path.absolute().parents):
        try:
            return f"{shutil.disk_usage(place).free:,} bytes are free"
        except OSError:
            continue
    return "nobody knows how much is free"


def _announce(operation: Operation) -> None:
    for watcher in _watchers:
        watcher(operation)
