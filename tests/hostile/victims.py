"""A run that a test may spoil."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reverie.training.checkpoint.folder import manifest_digest

Refused = Callable[..., str]
"""Runs a command that must end with code 2, and gives back what it said."""


@dataclass
class Victim:
    """A copy of the run, to be changed."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return sorted((self.path / "checkpoints").glob("checkpoint-*"))[-1]

    @property
    def manifest(self) -> Path:
        return self.checkpoint / "manifest.json"

    def keep_one(self) -> None:
        """Make all but the newest checkpoint unusable, so that none is fallen back to."""
        for path in sorted((self.path / "checkpoints").glob("checkpoint-*"))[:-1]:
            (path / "manifest.json").unlink()

    def put(self, file: str, content: bytes) -> None:
        """Replace a file of the checkpoint, with a manifest that agrees."""
        (self.checkpoint / file).write_bytes(content)
        self.sign()

    def save(self, file: str, value: Any) -> None:
        torch.save(value, self.checkpoint / file)
        self.sign()

    def load(self, file: str) -> Any:
        return torch.load(self.checkpoint / file, weights_only=True)

    def sign(self) -> None:
        manifest = json.loads(self.manifest.read_text())
        for name, facts in manifest["files"].items():
            content = (self.checkpoint / name).read_bytes()
            facts |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["sha256"] = manifest_digest(manifest)
        self.manifest.write_text(json.dumps(manifest))

    def edit_manifest(self, **changes: Any) -> None:
        manifest = json.loads(self.manifest.read_text()) | changes
        self.manifest.write_text(json.dumps(manifest | {"sha256": manifest_digest(manifest)}))

    def put_chunk(self, content: bytes) -> Path:
        """Replace the replay's chunk, with a checkpoint that names it."""
        own = self.load("process-0.pt")
        (name, rows, _), *_ = own["replay"]["chunks"]
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "replay" / name).unlink()
        new = f"{name[:33]}{digest[:12]}.npz"
        (self.path / "replay" / new).write_bytes(content)
        own["replay"]["chunks"] = [[new, rows, digest]]
        self.save("process-0.pt", own)
        return self.path / "replay" / new
