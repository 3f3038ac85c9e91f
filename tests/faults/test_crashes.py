"""Whatever beginning of a run's changes reached the disk, in whatever order, the folder that is left can be used."""

import os
import random
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crashing import Change, Disk, build, recorded
from families import FAMILIES
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning import Callback

from reverie.assembly.build import build_environment
from reverie.errors import RunError
from reverie.training.checkpoint import list_checkpoints, open_checkpoint
from reverie.training.checkpoint.folder import serial
from reverie.training.metrics import Lines, Table
from reverie.training.replay import Replay, ReplayMark
from reverie.training.run import resume, train
from reverie.training.run_folder import LOCK_FILE, RunFolder, read_status
from tiny_runs import rows_of

SHORT = ("stages.0.until.env_steps=12", "stages.1.until.env_steps=16", "evaluation.every=9", "checkpoints.ticks=5")


class Stop(Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == 17:
            os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class Recording:
    """All changes of a run that was interrupted once and resumed, and what is needed to look at a folder of it."""

    changes: list[Change]
    rows: list[dict[str, str]]
    factory: Any
    settings: Any
    lock: bytes


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    root = tmp_path_factory.mktemp("recorded")
    recipe = FAMILIES["categorical states, discrete actions"].prepared(*SHORT)
    with recorded(root) as changes:
        train(recipe, run_dir=root / "run", callbacks=[Stop()], progress=False)
        resume(root / "run", progress=False)
    lock = (root / "run" / LOCK_FILE).read_bytes()
    return Recording(changes, rows_of(root / "run"), build_environment(recipe), recipe.settings.replay, lock)


def applied(changes: list[Change]) -> Disk:
    disk = Disk()
    for change in changes:
        disk.apply(change)
    return disk


def saved_before(changes: list[Change]) -> int:
    """The number of the newest checkpoint whose saving had come to its end: its folder was renamed and that synced."""
    newest = 0
    for index, change in enumerate(changes[:-1]):
        if change.kind == "rename" and change.path == Path("run/checkpoints/.staging"):
            after = changes[index + 1 :]
            if any(later.kind == "sync folder" and later.path == Path("run/checkpoints") for later in after):
                assert change.target is not None
                newest = serial(change.target)
    return newest


def usable(run: Path, recording: Recording) -> int:
    """The checkpoint that a resumed run would go on from, 0 for a run that would begin anew.

    Raises:
        RunError, AssertionError: if nothing can be done with the folder.
    """
    read_status(run)
    if not (run / LOCK_FILE).exists():
        RunFolder.create(run)  # it was killed before it began: the same command begins it again
        return 0
    assert RunFolder.open(run).recipe.read_bytes() == recording.lock, "a recipe is there in full or not at all"
    refused = []
    for path in list_checkpoints(run / "checkpoints"):
        try:
            checkpoint = open_checkpoint(path)
            checkpoint.module_state()
            report = checkpoint.plain("training.pt")["report"]
            mark = ReplayMark.from_dict(checkpoint.plain("process-0.pt")["replay"])
            factory = recording.factory
            replay = Replay(run / "replay", factory.observation, factory.action, 1, recording.settings)
            replay.restore(mark)
        except RunError as fault:
            refused.append(str(fault))
            continue
        assert replay.steps == mark.rows
        assert_metrics(run, report, recording)
        return serial(path)
    assert not refused, refused
    return 0


def assert_metrics(run: Path, report: dict[str, Any], recording: Recording) -> None:
    """The lines that the checkpoint knows of are there, and are those of the undisturbed run."""
    table = Table(run / "metrics" / "metrics.csv")
    table.restore(report["table"])
    kept = [
        {key: value for key, value in row.items() if key != "seconds" and not key.startswith("time/")}
        for row in table.rows
    ]
    assert len(kept) == report["table"]["rows"]
    expected = [{key: value for key, value in row.items() if value} for row in recording.rows[: len(kept)]]
    assert kept == expected
    lines = Lines(run / "metrics" / "evaluations.jsonl")
    lines.restore(report["evaluations"])
    assert len(lines.read()) == report["evaluations"]


def checked(files: dict[Path, bytes | None], saved: int, recording: Recording) -> None:
    with tempfile.TemporaryDirectory() as root:
        build(files, Path(root))
        if (Path(root) / "run").exists():
            assert usable(Path(root) / "run", recording) >= saved, "a checkpoint that had been saved is lost"
        else:
            assert saved == 0


def test_the_recording_leads_to_the_folder_that_the_run_left(recording: Recording) -> None:
    files = applied(recording.changes).left_by_a_kill()
    assert Path("run/checkpoints/latest") in files
    assert len(recording.changes) > 150
    assert saved_before(recording.changes) >= 7
    assert recording.rows
    checked(files, saved_before(recording.changes), recording)


@pytest.mark.timeout(600)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_beginning_of_the_changes_leaves_a_folder_that_can_be_used(recording: Recording, data: Any) -> None:
    """SIGKILL: all changes up to one, the last one perhaps in part."""
    count = data.draw(st.integers(1, len(recording.changes)), label="changes")
    *whole, last = recording.changes[:count]
    if last.kind in ("write", "append"):
        part = data.draw(st.integers(0, len(last.content)), label="bytes of the last one")
        last = Change(last.kind, last.path, last.target, last.content[:part])
    checked(applied([*whole, last]).left_by_a_kill(), saved_before(whole), recording)


@pytest.mark.timeout(600)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_power_cut_leaves_a_folder_that_can_be_used(recording: Recording, data: Any) -> None:
    """Whatever was not synced is there or not, in any combination, and in part."""
    count = data.draw(st.integers(1, len(recording.changes)), label="changes")
    chance = random.Random(data.draw(st.integers(0, 2**32), label="what is lost"))
    changes = recording.changes[:count]
    checked(applied(changes).left_by_a_power_cut(chance), saved_before(changes), recording)


def test_the_model_of_a_disk_finds_a_save_that_is_not_synced(recording: Recording) -> None:
    """With the syncs left out, the same check has to fail: it could not see anything otherwise."""
    careless = [change for change in recording.changes if change.kind != "sync folder"]
    losses = 0
    for seed in range(12):
        try:
            checked(
                applied(careless).left_by_a_power_cut(random.Random(seed)), saved_before(recording.changes), recording
            )
        except (AssertionError, RunError):
            losses += 1
    assert losses >= 6
