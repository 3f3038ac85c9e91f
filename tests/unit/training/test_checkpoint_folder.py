"""A checkpoint is whole or refused by name; reading falls back to the newest whole one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reverie.training.checkpoint import CheckpointFault, CheckpointWriter, checkpoint_of, newest, open_checkpoint
from reverie.training.checkpoint.packing import pack, read_tensors
from reverie.training.durable import Operation, watched


class WithExtra(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.tied = self.linear
        self.history = [1, 2, 3]

    def get_extra_state(self) -> dict[str, Any]:
        return {"history": list(self.history), "mean": torch.ones(2)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])


def write(root: Path, value: float = 1.0, keep: int = 10) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    module = {"agent.w": torch.full((3,), value), "learners.x.w": torch.zeros(2, dtype=torch.int64)}
    own = {"rng": torch.get_rng_state(), "list": [1, (2.5, "a")]}
    return CheckpointWriter(root, keep).write(module, {"counters": {"updates": 3}}, own, {"updates": 3})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    path = write(root, 2.0)
    checkpoint = checkpoint_of(tmp_path)
    assert checkpoint.path == path
    assert checkpoint.counters == {"updates": 3}
    assert checkpoint.agent_state()["w"].tolist() == [2.0, 2.0, 2.0]
    assert checkpoint.part("learners")["x.w"].dtype == torch.int64
    assert torch.equal(checkpoint.plain("process-0.pt")["rng"], torch.get_rng_state())
    assert checkpoint.plain("process-0.pt")["list"] == [1, (2.5, "a")]
    assert (root / "latest").read_text().strip() == path.name
    assert json.loads((path / "manifest.json").read_text())["versions"]["torch"] == torch.__version__
    assert [entry.name for entry in root.iterdir() if entry.name.startswith(".")] == []


def test_tied_weights_and_extra_state_survive(tmp_path: Path) -> None:
    root, module = tmp_path / "checkpoints", WithExtra()
    root.mkdir()
    CheckpointWriter(root, 1).write(module.state_dict(), {}, {}, {})
    other = WithExtra()
    other.history = []
    other.load_state_dict(checkpoint_of(tmp_path).module_state())
    assert torch.equal(other.linear.weight, module.linear.weight)
    assert other.history == [1, 2, 3]


def test_views_and_transposed_tensors_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    content, others = pack({"row": base[1], "across": base.T, "whole": base, "same": base, "note": "text"})
    (tmp_path / "file").write_bytes(content)
    read = read_tensors(tmp_path / "file")
    assert others == {"note": "text"}
    assert read["row"].tolist() == [3, 4, 5]
    assert read["across"].tolist() == base.T.tolist()
    assert read["same"].tolist() == read["whole"].tolist() == base.tolist()


@pytest.mark.parametrize("file", ["weights.safetensors", "training.pt", "process-0.pt", "extra.pt"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_named_and_the_older_one_is_taken(tmp_path: Path, file: str, damage: str) -> None:
    root = tmp_path / "checkpoints"
    old, new = write(root, 1.0), write(root, 2.0)
    content = bytearray((new / file).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    (new / file).write_bytes(content[:-1] if damage == "cut" else content)
    if damage == "remove":
        (new / file).unlink()
    with pytest.raises(CheckpointFault, match=file):
        open_checkpoint(new)
    heard: list[str] = []
    found = newest(root, heard.append)
    assert found is not None
    assert found.path == old
    assert len(heard) == 1
    assert new.name in heard[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a manifest"),
        ("[]", "not a manifest"),
        ('{"schema": 1, "files": {"a": 3}, "counters": {}}', "not a manifest"),
        ('{"schema": 99, "files": {}, "counters": {}}', "a newer version"),
        ('{"schema": 0, "files": {}, "counters": {}}', "an older version"),
        ('{"schema": "1", "files": {}, "counters": {}}', "another version"),
        ('{"schema": 1, "files": {"../x": {"size": 0, "sha256": ""}}, "counters": {}}', "not a plain file"),
        ('{"schema": 1, "files": {"a": {}}, "counters": {}}', "size and sha256"),
    ],
)
def test_foreign_manifests_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "checkpoints")
    (path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointFault, match=message):
        open_checkpoint(path)
    with pytest.raises(CheckpointFault, match="no checkpoint"):
        newest(tmp_path / "checkpoints")


def test_no_bit_of_a_manifest_can_be_flipped_unnoticed(tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoints") / "manifest.json"
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 2
        path.write_bytes(changed)
        if json_or_none(changed) != json.loads(content):  # a space may have become another one
            with pytest.raises(CheckpointFault, match=r"manifest\.json"):
                open_checkpoint(path.parent)


def json_or_none(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_pickle_with_a_right_hash_is_still_refused(tmp_path: Path) -> None:
    import hashlib
    import pickle

    path, canary = write(tmp_path / "checkpoints"), tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return canary.touch, ()

    (path / "training.pt").write_bytes(pickle.dumps(Bomb()))
    manifest = json.loads((path / "manifest.json").read_text())
    content = (path / "training.pt").read_bytes()
    manifest["files"]["training.pt"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    del manifest["sha256"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointFault, match=r"training\.pt"):
        open_checkpoint(path).plain("training.pt")
    assert not canary.exists()


def test_pruning_keeps_the_newest_and_removes_what_a_crash_left(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    paths = [write(root, float(number)) for number in range(4)]
    (root / ".old-checkpoint-00000000").mkdir()
    writer = CheckpointWriter(root, 2)
    assert writer.prune() == [paths[3], paths[2]]
    assert sorted(entry.name for entry in root.iterdir()) == [paths[2].name, paths[3].name, "latest"]


def test_names_never_repeat_after_pruning(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    first = write(root, keep=1)
    CheckpointWriter(root, 1).prune()
    assert write(root).name > first.name


def test_a_crash_while_staging_leaves_the_last_one_good(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    good = write(root)

    def fail(operation: Operation) -> None:
        if operation.kind == "rename":
            raise OSError("no space left")

    with watched(fail), pytest.raises(OSError, match="no space"):
        write(root, 2.0)
    found = newest(root)
    assert found is not None
    assert found.path == good
    assert open_checkpoint(write(root, 3.0)).agent_state()["w"][0] == 3.0  # leftovers of the crash do not disturb


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints")
    for name in ("../x", "checkpoint-1", "/etc", ""):
        with pytest.raises(CheckpointFault, match="not the name"):
            checkpoint_of(tmp_path, name)
