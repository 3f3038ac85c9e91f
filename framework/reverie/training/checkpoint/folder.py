"""Reading checkpoints: nothing is believed before its hash is checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from reverie.errors import RunError
from reverie.training.checkpoint.packing import merge, read_tensors
from reverie.training.checkpoint.plain import read_plain
from reverie.training.untrusted import plain_file, read_json

SCHEMA = 1
"""Version of the layout of a checkpoint folder."""

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
EXTRA = "extra.pt"
TRAINING = "training.pt"
_KEYS = {"schema", "written", "versions", "counters", "files", "sha256"}
LAST = 99_999_999
"""The largest number in a checkpoint's name."""
_NAME = re.compile(r"checkpoint-([0-9]{8})")
_FILE = re.compile(r"[a-z0-9][a-z0-9.-]*")


class CheckpointFault(RunError):
    """A checkpoint cannot be used: a file is missing, changed, foreign or of another schema."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files have been checked against its manifest.

    Args:
        path: the folder.
        manifest: schema, versions, counters, and the size and sha256 of each file.
    """

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def counters(self) -> dict[str, Any]:
        """How far the run was."""
        return dict(self.manifest["counters"])

    def module_state(self) -> dict[str, Any]:
        """The state dict of agent (`agent.`) and learners (`learners.`), or of an external policy (`policy.`)."""
        extra = self.plain(EXTRA) if EXTRA in self.manifest["files"] else {}
        return merge(self._tensors(WEIGHTS), extra)

    def part(self, prefix: str) -> dict[str, Any]:
        """The entries of `module_state` under `prefix` and a dot, without it."""
        head = prefix + "."
        return {name[len(head) :]: value for name, value in self.module_state().items() if name.startswith(head)}

    def agent_state(self) -> dict[str, Any]:
        """The state dict of the agent."""
        return self.part("agent")

    def plain(self, file: str) -> Any:
        """A weights-only torch file.

        Raises:
            CheckpointFault: if it is not one.
        """
        if file not in self.manifest["files"]:
            raise CheckpointFault(f"{self.path} has no file '{file}'")
        try:
            return read_plain(self.path / file)
        except Exception as error:  # whatever a damaged or hostile file makes of torch's reader
            raise CheckpointFault(f"{self.path / file} is refused: {_first_line(error)}") from error

    def _tensors(self, file: str) -> dict[str, Tensor]:
        try:
            return read_tensors(self.path / file)
        except (OSError, SafetensorError, ValueError, MemoryError) as error:
            raise CheckpointFault(f"{self.path / file} cannot be read: {_first_line(error)}") from error


def list_checkpoints(root: Path) -> list[Path]:
    """All folders that are named like checkpoints, newest first."""
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)), reverse=True)


def serial(path: Path) -> int:
    """The number in a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else 0


def open_checkpoint(path: Path) -> Checkpoint:
    """Check a folder against its manifest.

    Raises:
        CheckpointFault: naming the file that is missing, changed or foreign.
    """
    manifest = _manifest(path)
    for name, facts in manifest["files"].items():
        file = path / name
        if not _FILE.fullmatch(name) or file.is_symlink() or not file.is_file():
            raise CheckpointFault(f"{path}: the file {name!r} that its manifest names is missing or not a plain file")
        size = plain_file(file)
        if size != facts["size"]:
            raise CheckpointFault(f"{file} has {size} bytes, its manifest says {facts['size']}")
        if sha256(file) != facts["sha256"]:
            raise CheckpointFault(f"{file} was changed: its sha256 is not the one in its manifest")
    return Checkpoint(path, manifest)


def newest(root: Path, say: Callable[[str], None] = lambda text: None) -> Checkpoint | None:
    """The newest checkpoint that is whole; `say` hears why newer ones were skipped. None if there is none at all.

    Raises:
        CheckpointFault: if there are checkpoints, but none is whole.
    """
    skipped = []
    for path in list_checkpoints(root):
        try:
            return open_checkpoint(path)
        except CheckpointFault as fault:
            skipped.append(str(fault))
            say(f"skipped {path.name}: {fault}")
    if skipped:
        raise CheckpointFault(f"no checkpoint in {root} can be used:\n" + "\n".join(skipped))
    return None


def read_agent_tensors(run: Path, checkpoint: str | None = None) -> dict[str, Any]:
    """The agent's state dict from a run's newest whole checkpoint, or from the one of that name.

    Raises:
        CheckpointFault: if there is none that can be used.
    """
    return checkpoint_of(run, checkpoint).agent_state()


def checkpoint_of(run: Path, name: str | None = None) -> Checkpoint:
    """A run's newest whole checkpoint, or the one of that name (`latest` means the newest).

    Raises:
        CheckpointFault: if there is none that can be used.
    """
    root = run / "checkpoints"
    if name is not None and name != "latest":
        if not _NAME.fullmatch(name):
            raise CheckpointFault(f"{name!r} is not the name of a checkpoint: those look like checkpoint-00000001")
        return open_checkpoint(root / name)
    found = newest(root)
    if found is None:
        raise CheckpointFault(f"{run} has no checkpoint")
    return found


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = read_json(file)
        found = manifest["schema"]
        files = manifest["files"]
        counters = manifest["counters"]
        shaped = all({"size", "sha256"} <= facts.keys() for facts in files.values()) and are_counters(counters)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointFault(f"{file} is missing or not a manifest: {_first_line(error)}") from error
    if found != SCHEMA:
        age = "another" if not isinstance(found, int) else "a newer" if found > SCHEMA else "an older"
        raise CheckpointFault(f"{file} was written by {age} version of Reverie (schema {found}, this one is {SCHEMA})")
    unknown = sorted(manifest.keys() - _KEYS)
    if unknown or ("sha256" in manifest and manifest["sha256"] != manifest_digest(manifest)):
        raise CheckpointFault(f"{file} was changed: its sha256 is not the one that it says")
    if not shaped:
        raise CheckpointFault(f"{file} does not say size and sha256 of each file, and the counters")
    return dict(manifest)


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 over what a manifest says, in hexadecimal; of it itself nothing else would notice a flipped bit."""
    said = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def are_counters(counters: Any) -> bool:
    """Whether this is a table of plain numbers: they are shown, and compared with limits."""
    return isinstance(counters, dict) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2**62
        for value in counters.values()
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
