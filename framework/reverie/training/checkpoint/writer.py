"""Writing checkpoints: staged beside the target, synced, renamed; then the pointer; then old ones go."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reverie.training.checkpoint.folder import (
    EXTRA,
    LAST,
    MANIFEST,
    SCHEMA,
    TRAINING,
    WEIGHTS,
    CheckpointFault,
    list_checkpoints,
    manifest_digest,
    serial,
    sha256,
)
from reverie.training.checkpoint.packing import pack, write_plain
from reverie.training.ddp import ALONE, World
from reverie.training.durable import make_folder, remove_folder, rename, sync_folder, write_atomically, write_durably

LATEST = "latest"
_STAGING = ".staging"


class CheckpointWriter:
    """Writes checkpoints of one run.

    Args:
        root: the run's folder `checkpoints`.
        keep: how many of the newest stay.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self.root = root
        self.keep = keep

    def write(
        self,
        module: Mapping[str, Any],
        training: Mapping[str, Any],
        own: Mapping[str, Any],
        counters: Mapping[str, Any],
        world: World = ALONE,
    ) -> Path:
        """Write one checkpoint; every process calls this at the same moment.

        Args:
            module: state dict of agent and learners, the same in every process.
            training: plain data and tensors that are the same in every process.
            own: plain data and tensors of this process, written as `process-<rank>.pt`.
            counters: for the manifest.

        Returns:
            The folder, in place and durable.
        """
        staged, target = self.root / _STAGING, self.next_path()
        if world.first:
            remove_folder(staged)
            make_folder(staged)
            self._shared(staged, module, training)
        world.barrier()
        write_plain(staged / f"process-{world.rank}.pt", dict(own))
        world.barrier()
        if world.first:
            self._publish(staged, target, counters)
        world.barrier()
        return target

    def prune(self) -> list[Path]:
        """Remove all but the newest `keep`; returns those that stay, newest first."""
        kept, old = list_checkpoints(self.root)[: self.keep], list_checkpoints(self.root)[self.keep :]
        for path in reversed(old):
            doomed = self.root / f".old-{path.name}"
            rename(path, doomed)  # from here on no reader takes it for a whole one
            remove_folder(doomed)
        for leftover in self.root.glob(".old-*"):
            remove_folder(leftover)
        return kept

    def discard(self) -> None:
        """Give back the room of a checkpoint that could not be finished."""
        remove_folder(self.root / _STAGING)

    def next_path(self) -> Path:
        """Where the next checkpoint goes.

        Raises:
            CheckpointFault: if there is no number left for it.
        """
        existing = list_checkpoints(self.root)
        number = (serial(existing[0]) if existing else 0) + 1
        if number > LAST:
            raise CheckpointFault(f"{existing[0]} has the last number that a checkpoint can have: remove or rename it")
        return self.root / f"checkpoint-{number:08d}"

    def _shared(self, staged: Path, module: Mapping[str, Any], training: Mapping[str, Any]) -> None:
        weights, extra = pack(module)
        write_durably(staged / WEIGHTS, weights)
        for name, value in ((EXTRA, extra), (TRAINING, dict(training))):
            write_plain(staged / name, value)

    def _publish(self, staged: Path, target: Path, counters: Mapping[str, Any]) -> None:
        files = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(staged.iterdir())
            if path.name != MANIFEST
        }
        manifest = {
            "schema": SCHEMA,
            "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
            "counters": dict(counters),
            "files": files,
        }
        signed = {**manifest, "sha256": manifest_digest(manifest)}
        write_durably(staged / MANIFEST, json.dumps(signed, indent=2) + "\n")
        sync_folder(staged)
        rename(staged, target)
        sync_folder(self.root)
        write_atomically(self.root / LATEST, target.name + "\n")


def versions() -> dict[str, str]:
    """Of everything whose numbers a resumed run depends on."""
    packages = ("reverie", "torch", "pytorch-lightning", "numpy", "gymnasium", "safetensors")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


@cache
def _version(package: str) -> str:
    """Looked up once: reading it from the installed files takes 3 ms, a quarter of a small checkpoint for all six."""
    return version(package)
