"""The folder of one run: who works in it, what state it is in, and where everything lies."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reverie.errors import RunError
from reverie.recipes.locate import printable
from reverie.training.durable import (
    free_bytes,
    make_folder,
    remove_folder,
    rename,
    sync_file,
    sync_folder,
    write_atomically,
)
from reverie.training.untrusted import read_json, require_run

LOCK_FILE = "recipe.lock.yaml"
HELD_OUT = "held_out"
"""Folder for the recorded episodes that nothing learns from."""

_FOLDERS = ("metrics", "checkpoints", "replay", "videos")
_STAGED = ".staged"
_HOLDER = ".holder.json"


class RunFolder:
    """Paths, status and lock of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock", timeout=0)

    @property
    def recipe(self) -> Path:
        return self.path / LOCK_FILE

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def replay(self) -> Path:
        return self.path / "replay"

    @property
    def faults(self) -> Path:
        return self.path / "faults"

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run; nothing that exists is ever overwritten.

        Raises:
            RunError: if a run, or anything else, is there already, or the place cannot be written.
        """
        run = cls(path)
        run.refuse_another()
        if path.exists() and not (path.is_dir() and all(_never_begun(entry) for entry in path.iterdir())):
            raise RunError(f"{path} exists and is not an empty folder; give another `run_dir=`")
        try:
            make_folder(path, parents=True)
            for folder in _FOLDERS:
                make_folder(path / folder)
            sync_folder(path.parent)
        except OSError as error:
            raise RunError(f"the run folder {path} cannot be made: {error.strerror or error}") from error
        return run

    def refuse_another(self) -> None:
        """Refuse a folder that holds a run.

        Raises:
            RunError: with what to do instead.
        """
        if self.recipe.exists():
            raise RunError(
                f"{self.path} holds a run already; go on with it by `reverie resume {self.path}`, "
                "or give another `run_dir=`"
            )

    def install(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a staging folder with the recipe and its provenance, and put them in place: the recipe last,
        so that a folder with a recipe is a run and one without is none.

        Raises:
            RunError: if the disk does not take it.
        """
        staged = self.path / _STAGED
        try:
            remove_folder(staged)
            make_folder(staged)
            write(staged)
            for file in sorted(staged.iterdir(), key=lambda file: file.name == LOCK_FILE):
                sync_file(file)
                sync_folder(self.path)
                rename(file, self.path / file.name)
            remove_folder(staged)
            sync_folder(self.path)
        except OSError as error:
            raise RunError(f"the recipe cannot be written into {self.path}: {error.strerror or error}") from error

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            RunError: if there is none, or it holds links.
        """
        require_run(path)
        return cls(path)

    def lock(self) -> None:
        """Take the folder for this process, until it ends or `unlock` is called.

        The lock belongs to the process, so one that died leaves none behind.

        Raises:
            RunError: naming the process that holds it.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(f"{self.path} is in use by {self._holder()}; wait until it ends, or stop it") from None
        except OSError as error:
            raise RunError(f"{self.path / '.lock'} cannot be written: {error.strerror or error}") from error
        try:
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
            write_atomically(self.path / _HOLDER, json.dumps(holder))
        except OSError as error:
            self._lock.release()
            raise RunError(
                f"{self.path / _HOLDER} cannot be written ({free_bytes(self.path)}): {error.strerror or error}"
            ) from error

    def unlock(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def status(self) -> dict[str, Any]:
        """What `status.json` says; empty if it is missing or broken."""
        return read_status(self.path)

    def set_status(self, status: str, reason: str = "", **facts: Any) -> None:
        """Say that the run is running, interrupted, failed (with the reason) or completed.

        Raises:
            RunError: if the disk does not take it.
        """
        entry = {"status": status, "reason": reason, "pid": os.getpid(), "updated": _now(), **facts}
        text = json.dumps(entry, indent=2) + "\n"
        try:
            write_atomically(self.path / "status.json", text)
        except OSError as error:
            raise RunError(
                f"{self.path / 'status.json'} could not be written, it needs {len(text):,} bytes "
                f"({free_bytes(self.path)}): {error.strerror or error}"
            ) from error

    def _holder(self) -> str:
        try:
            holder = read_json(self.path / _HOLDER)
            pid, host, since = int(holder["pid"]), printable(holder["host"]), printable(holder["since"])
            named = f"process {pid} on {host} since {since}"
            ended = host == socket.gethostname() and not _alive(pid)
            return f"{named}, which has ended, but left a process behind that holds on to it" if ended else named
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return "another process"


def _alive(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    if pid <= 0:
        raise ValueError(f"{pid} is not the number of a process")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _never_begun(entry: Path) -> bool:
    """Whether a process that was killed before its run began may have left this behind."""
    if entry.name in _FOLDERS:
        return entry.is_dir() and not entry.is_symlink() and not any(entry.iterdir())
    return entry.name in (".lock", _HOLDER, f".{_HOLDER}.new", _STAGED, "provenance.json")


def read_status(run: Path) -> dict[str, Any]:
    """What a run's `status.json` says; empty if it is missing or broken."""
    try:
        status = read_json(run / "status.json")
    except (OSError, ValueError):
        return {}
    return dict(status) if isinstance(status, Mapping) else {}


def default_path(recipe: str, environment: str) -> Path:
    """`runs/<recipe>-<env>-<time>`, with a number behind it if that exists."""
    name = "-".join(_plain(part) for part in (recipe, environment, time.strftime("%Y%m%d-%H%M%S")))
    path = Path("runs") / name
    number = 2
    while path.exists():
        path = Path("runs") / f"{name}-{number}"
        number += 1
    return path


def _plain(text: str) -> str:
    """A part of a file name, whatever the text was."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.") or "run"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
