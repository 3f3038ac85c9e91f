"""Replay chunks from strangers: measured before anything is allocated, and read without pickle."""

import io
import zipfile
from pathlib import Path
from typing import Any

import bombs
import numpy as np
import pytest
from victims import Refused, Victim

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import RunError
from reverie.training.replay import ReplayMark
from reverie.training.replay.columns import empty, layout_of
from reverie.training.replay.files import read_chunk, verify_chunk, write_chunk
from reverie.training.replay.mark import ChunkMark

LAYOUT = layout_of(ObservationSpec({"state": ArraySpec((3,), "float32")}), ActionSpec("continuous", 2))
ROWS = 4


class Bomb(bombs.Touch):
    """In an array of objects."""


@pytest.fixture
def chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ChunkMark, bytes]:
    monkeypatch.chdir(tmp_path)
    columns = empty(LAYOUT, ROWS)
    for array in columns.values():
        array[...] = 0
    mark = write_chunk(tmp_path, 0, 0, columns)
    return mark, (tmp_path / mark.name).read_bytes()


def objects(source: bytes) -> bytes:
    return bombs.npz({"reward.npy": bombs.npy(np.array([Bomb()] * ROWS, object), allow=True)}, source)


HOSTILE: dict[str, tuple[Any, str]] = {
    "objects": (objects, "is object"),
    "raw pickle": (lambda source: bombs.raw(), "not a zip file"),
    "pickle as a member": (lambda source: bombs.npz({"reward.npy": bombs.raw()}, source), "magic string"),
    "compressed": (lambda source: bombs.npz({}, source, deflate=True), "is compressed"),
    "inflating": (
        lambda source: bombs.npz({"reward.npy": bombs.npy(np.zeros(2**21, np.float32))}, source, deflate=True),
        "is compressed",
    ),
    "twice": (lambda source: bombs.npz({}, source, twice="reward.npy"), "is there twice"),
    "terabytes": (lambda source: bombs.npz({"reward.npy": bombs.lying_npy("(1000000000000,)")}, source), "expected"),
    "negative": (lambda source: bombs.npz({"reward.npy": bombs.lying_npy("(-4,)")}, source), "expected"),
    "short": (lambda source: bombs.npz({"reward.npy": bombs.lying_npy("(4,)")}, source), "has 1 values"),
    "code in the header": (
        lambda source: bombs.npz({"reward.npy": bombs.lying_npy("__import__('os').system('touch canary')")}, source),
        "damaged",
    ),
    "deep header": (lambda source: bombs.npz({"reward.npy": bombs.lying_npy("(" * 5000)}, source), "damaged"),
    "doubles": (lambda source: bombs.npz({"reward.npy": bombs.npy(np.zeros(ROWS))}, source), "is float64"),
    "swapped bytes": (lambda source: bombs.npz({"reward.npy": bombs.npy(np.zeros(ROWS, ">f4"))}, source), "is >f4"),
    "records": (
        lambda source: bombs.npz({"reward.npy": bombs.npy(np.zeros(ROWS, [("a", "f4"), ("b", "i4")]))}, source),
        "expected",
    ),
    "not a number": (
        lambda source: bombs.npz({"reward.npy": bombs.npy(np.full(ROWS, np.nan, "f4"))}, source),
        "finite",
    ),
    "missing": (lambda source: bombs.npz({"reward.npy": None}, source), "no item named"),
    "other names": (lambda source: source.replace(b"reward.npy", b"../rew.npy"), "no item named"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_chunks(name: str, chunk: tuple[ChunkMark, bytes], bounded: None) -> None:
    mark, source = chunk
    make, message = HOSTILE[name]
    Path(mark.name).write_bytes(make(source))
    with pytest.raises(RunError, match=message) as caught:
        read_chunk(Path(), mark, LAYOUT)
    assert mark.name in str(caught.value)
    assert not Path("canary").exists()


def test_truth_values_are_truth_values(chunk: tuple[ChunkMark, bytes]) -> None:
    """A byte 2 in an array of truth values is neither true nor false to torch."""
    mark, source = chunk
    column = bombs.npy(np.zeros(ROWS, bool))[:-ROWS] + b"\x00\x01\x02\xff"
    Path(mark.name).write_bytes(bombs.npz({"is_first.npy": column}, source))
    assert read_chunk(Path(), mark, LAYOUT)["is_first"].view(np.uint8).tolist() == [0, 1, 1, 1]


def test_chunks_that_are_no_files(chunk: tuple[ChunkMark, bytes], tmp_path: Path) -> None:
    mark, source = chunk
    (tmp_path / "elsewhere").write_bytes(source)
    Path(mark.name).unlink()
    Path(mark.name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="not a plain file"):
        verify_chunk(Path(), mark)


GOOD = ["stream-00000-000000000000-000004-" + "a" * 12 + ".npz", 4, "a" * 64]


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": [["../../../canary", 4, "a" * 64]]},
        {"chunks": [["/etc/passwd", 4, "a" * 64]]},
        {"chunks": [[GOOD[0] + "\n", 4, "a" * 64]]},
        {"chunks": [[GOOD[0], -4, "a" * 64]]},
        {"chunks": [[GOOD[0], 2**70, "a" * 64]]},
        {"chunks": [[GOOD[0], 4, "A" * 64]]},
        {"chunks": [[*GOOD, 1]]},
        {"chunks": 7},
        {"chunks": [None]},
        {"next_id": 2**70},
        {"next_id": -1},
        {"next_id": True},
        {"streams": 0},
        {"streams": "many"},
        {"version": 2},
    ],
)
def test_marks(change: dict[str, Any]) -> None:
    with pytest.raises(RunError):
        ReplayMark.from_dict({"version": 1, "streams": 1, "next_id": 4, "chunks": [GOOD]} | change)


def chunk_of(victim: Victim) -> bytes:
    (name, *_), *_ = victim.load("process-0.pt")["replay"]["chunks"]
    return (victim.path / "replay" / name).read_bytes()


def test_resume_refuses_a_chunk(victim: Victim, refused: Refused) -> None:
    source = chunk_of(victim)
    victim.keep_one()
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        rows = len(np.load(io.BytesIO(archive.read("reward.npy"))))
    path = victim.put_chunk(bombs.npz({"reward.npy": bombs.npy(np.array([Bomb()] * rows, object), allow=True)}, source))
    said = refused("resume", str(victim.path), "--no-progress")
    assert f"{path.name}: this chunk of the replay is damaged" in said


def test_resume_refuses_a_billion_streams(victim: Victim, refused: Refused) -> None:
    victim.keep_one()
    own = victim.load("process-0.pt")
    own["replay"] = {"version": 1, "streams": 10**12, "next_id": 0, "chunks": []}
    victim.save("process-0.pt", own)
    assert "1000000000000" in refused("resume", str(victim.path), "--no-progress")
