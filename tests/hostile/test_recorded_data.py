"""Recorded episodes from strangers: arrays of bounded size and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bombs
import numpy as np
import pytest
from victims import Refused

ROWS: dict[str, Any] = {
    "obs": np.zeros((9, 2), np.float32),
    "action": np.zeros((8, 1), np.float32),
    "reward": np.zeros(8, np.float32),
    "terminated": np.array(False),
}


def packed(path: Path, **changes: Any) -> None:
    np.savez(path, **{**ROWS, **changes})


def written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def changed(member: str, content: bytes, **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        packed(path)
        path.write_bytes(bombs.npz({member: content}, path.read_bytes(), **options))

    return write


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "objects": (changed("reward.npy", bombs.npy(np.array([bombs.Touch()] * 8, object), allow=True)), "cannot be read"),
    "raw pickle": (written(bombs.raw()), "cannot be read"),
    "pickle as a member": (changed("reward.npy", bombs.raw()), "cannot be read"),
    "text": (written(b"\x1b[2Jos.system('touch canary')"), "cannot be read"),
    "empty": (written(b""), "cannot be read"),
    "bomb": (changed("reward.npy", bombs.npy(np.zeros(2**20, np.float32)), deflate=True), "once it is unpacked"),
    "terabytes": (changed("reward.npy", bombs.lying_npy("(1000000000000,)")), "cannot be read"),
    "code in a header": (
        changed("reward.npy", bombs.lying_npy("__import__('os').system('touch canary')")),
        "cannot be read",
    ),
    "pipe": (os.mkfifo, "it is not a plain file"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "it is not a plain file"),
    "escape sequence as a name": (lambda path: packed(path, reward=ROWS["reward"][:3], **{"\x1b[2J": 1}), "for 3"),
    "words": (lambda path: packed(path, reward=np.array(["\x1b[2J"] * 8)), "reward holds no numbers"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_episodes(name: str, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie_plugins.episodes import folder

    monkeypatch.setattr(folder, "LARGEST", 2**20)
    monkeypatch.chdir(tmp_path)
    make, message = FILES[name]
    Path("data").mkdir()
    make(Path("data", "one.npz"))
    assert message in refused("check", "offline", "data.folder=data")
