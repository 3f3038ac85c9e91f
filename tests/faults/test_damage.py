"""Damaged, missing and foreign files of a run: each is refused by name, and the newest valid checkpoint is taken."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nursery import Nursery
from reverie.training.checkpoint.folder import manifest_digest
from tiny_runs import differences, final_state, rows_of

FAMILY = "categorical states, discrete actions"
SHORT = ("stages.0.until.env_steps=12", "stages.1.until.env_steps=12", "checkpoints.ticks=5")
OTHER = (*SHORT, "seed=9")
FILES = ("manifest.json", "weights.safetensors", "extra.pt", "training.pt", "process-0.pt")


@pytest.fixture(scope="module")
def runs(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run to its end, the same one interrupted near its end, another one, and one of another size."""
    root = tmp_path_factory.mktemp("damage")
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "whole": ("deeds:begin", {"overrides": SHORT}),
        "other": ("deeds:begin", {"overrides": OTHER}),
        "larger": ("deeds:begin", {"overrides": (*SHORT, "dynamics.deter=16")}),
        "stopped": ("deeds:hit_in", {"overrides": SHORT, "place": "collection", "numbers": [15]}),
    }
    for name, (deed, options) in wanted.items():
        ended = nursery.run(deed, family=FAMILY, run=root / name, **options)
        assert ended.code == (143 if name == "stopped" else 0), ended.said
    return {name: root / name for name in wanted}


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("checkpoint-*"))


def cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def remove(path: Path, other: Path) -> None:
    path.unlink()


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "cut": cut,
    "flip": flip,
    "remove": remove,
    "empty": empty,
    "foreign": foreign,
}
QUICK = {
    ("manifest.json", "cut"),
    ("weights.safetensors", "flip"),
    ("training.pt", "remove"),
    ("process-0.pt", "foreign"),
    ("chunk", "flip"),
    ("chunk", "remove"),
}


def falls_back(nursery: Nursery, runs: dict[str, Path], run: Path, words: str) -> None:
    """Resume; say what was skipped; end where the undisturbed run ended."""
    skipped = newest(run).name
    ended = nursery.run("deeds:go_on", family=FAMILY, run=run, overrides=[])
    assert ended.code == 0, ended.said
    told = " ".join(ended.said.split())
    assert f"skipped {skipped}: " in told
    assert words in told.replace(" ", "") or words in told, told
    assert differences(final_state(runs["whole"]), final_state(run)) == []
    assert rows_of(runs["whole"]) == rows_of(run)


@pytest.fixture
def run(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(runs["stopped"], tmp_path / "run"))


def chunk_of(run: Path) -> Path:
    """A chunk that only the newest checkpoint needs."""
    names = []
    for checkpoint in sorted((run / "checkpoints").glob("checkpoint-*")):
        mark = torch.load(checkpoint / "process-0.pt", weights_only=True)["replay"]
        names.append({name for name, *_ in mark["chunks"]})
    (name, *_) = sorted(names[-1] - names[-2])
    return run / "replay" / name


CASES = [
    pytest.param(file, damage, marks=() if (file, damage) in QUICK else pytest.mark.slow)
    for file in (*FILES, "chunk")
    for damage in DAMAGES
]


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(
    nursery: Nursery, runs: dict[str, Path], run: Path, file: str, damage: str
) -> None:
    path = chunk_of(run) if file == "chunk" else newest(run) / file
    other = next((runs["other"] / "replay").glob("*.npz")) if file == "chunk" else newest(runs["other"]) / file
    if file == "extra.pt" and damage == "foreign" and other.read_bytes() == path.read_bytes():
        pytest.skip("both runs have the same one")
    DAMAGES[damage](path, other)
    expected = "manifest" if file == "manifest.json" and damage == "foreign" else path.name
    falls_back(nursery, runs, run, expected)


def rewrite(path: Path, manifest: dict[str, Any]) -> None:
    path.write_text(json.dumps({**manifest, "sha256": manifest_digest(manifest)}))


def sign(checkpoint: Path) -> None:
    """Make a manifest agree with its files again."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name, facts in manifest["files"].items():
        content = (checkpoint / name).read_bytes()
        facts |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite(checkpoint / "manifest.json", manifest)


@pytest.mark.parametrize(("schema", "words"), [(0, "an older version of Reverie"), (99, "a newer version of Reverie")])
def test_checkpoints_of_other_schemas(
    nursery: Nursery, runs: dict[str, Path], run: Path, schema: int, words: str
) -> None:
    path = newest(run) / "manifest.json"
    rewrite(path, {**json.loads(path.read_text()), "schema": schema})
    falls_back(nursery, runs, run, words)


@pytest.mark.parametrize("version", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_replay_marks_of_other_versions(nursery: Nursery, runs: dict[str, Path], run: Path, version: int) -> None:
    path = newest(run) / "process-0.pt"
    own = torch.load(path, weights_only=True)
    own["replay"]["version"] = version
    torch.save(own, path)
    sign(newest(run))
    falls_back(nursery, runs, run, f"the replay mark has version {version}")


@pytest.mark.parametrize(
    ("whose", "words"),
    [("larger", "its files do not fit this run"), ("other", "this chunk of the replay cannot be read")],
)
def test_whole_checkpoints_of_other_runs(
    nursery: Nursery, runs: dict[str, Path], run: Path, whose: str, words: str
) -> None:
    """Nothing is wrong with the folder itself; another run's replay does not come with it."""
    target = run / "checkpoints" / "checkpoint-00000099"
    shutil.copytree(newest(runs[whose]), target)
    if whose == "larger":  # with the replay in place, the weights decide
        own = torch.load(target / "process-0.pt", weights_only=True)
        mine = torch.load(sorted((run / "checkpoints").glob("checkpoint-*"))[-2] / "process-0.pt", weights_only=True)
        torch.save({**own, "replay": mine["replay"]}, target / "process-0.pt")
        sign(target)
    falls_back(nursery, runs, run, words)


def test_where_nothing_can_be_used_every_reason_is_given(nursery: Nursery, run: Path) -> None:
    checkpoints = sorted((run / "checkpoints").glob("checkpoint-*"))
    assert len(checkpoints) == 2
    (checkpoints[0] / "training.pt").unlink()
    flip(checkpoints[1] / "weights.safetensors", run)
    ended = nursery.run("deeds:command", arguments=["resume", str(run), "--no-progress"])
    assert ended.code == 2, ended.said
    told = " ".join(ended.said.split())
    assert "Traceback" not in told
    assert f"no checkpoint of {run} can be used" in told
    assert "training.pt" in told
    assert "weights.safetensors was changed" in told
    assert {path.name for path in checkpoints} == {path.name for path in (run / "checkpoints").glob("checkpoint-*")}
