"""Disks that are full, folders that are read-only, in use or gone: one clear answer, and nothing saved is lost."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nursery import Nursery, Outcome
from reverie.errors import RunError
from reverie.training.checkpoint import checkpoint_of
from reverie.training.run import train
from reverie.training.run_folder import RunFolder, read_status
from tiny_runs import TINY, differences, final_state, rows_of

SHORT = [*TINY, "stages.0.until.env_steps=12", "stages.1.until.env_steps=12", "checkpoints.ticks=5"]
SAYS_BYTES = r"needs( about)? [\d,]+ bytes \([\d,]+ bytes are free\)"


@pytest.fixture(scope="module")
def alone(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without trouble."""
    run = tmp_path_factory.mktemp("disk") / "alone"
    ended = nursery.run("deeds:command", arguments=["train", "dreamer", *SHORT, f"run_dir={run}", "--no-progress"])
    assert ended.code == 0, ended.said
    return run


@pytest.fixture
def writable_again(tmp_path: Path) -> Iterator[None]:
    yield
    subprocess.run(["chmod", "-R", "u+rwX", str(tmp_path)], check=True)


def in_trouble(nursery: Nursery, run: Path, trouble: str, **options: Any) -> Outcome:
    arguments = ["train", "dreamer", *SHORT, f"run_dir={run}", "--no-progress"]
    return nursery.run("deeds:command_in_trouble", arguments=arguments, run=run, trouble=trouble, **options)


def plain(said: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(said.split())


def resumed(nursery: Nursery, run: Path, alone: Path) -> None:
    ended = nursery.run("deeds:command", arguments=["resume", str(run), "--no-progress"])
    assert ended.code == 0, ended.said
    assert differences(final_state(alone), final_state(run)) == []
    assert rows_of(alone) == rows_of(run)


def test_a_full_disk_while_saving(nursery: Nursery, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = in_trouble(nursery, run, "small_files")
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert re.search(f"checkpoint could not be written to .*, it {SAYS_BYTES}: File too large", plain(ended.said))
    assert f"reverie resume {run}" in plain(ended.said)
    status = read_status(run)
    assert status["status"] == "failed"
    assert "File too large" in status["reason"]
    assert not (run / "checkpoints" / ".staging").exists(), "the room of what could not be finished is given back"
    assert len(list((run / "checkpoints").glob("checkpoint-*"))) == 2
    resumed(nursery, run, alone)


def test_a_full_disk_while_a_chunk_of_replay_is_written(nursery: Nursery, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = in_trouble(nursery, run, "small_files", place="collection", times=2)
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert re.search(SAYS_BYTES, plain(ended.said)), ended.said
    resumed(nursery, run, alone)


def test_a_disk_without_room(nursery: Nursery, alone: Path, tmp_path: Path) -> None:
    """A small disk of its own that runs full in the middle of a run, and has room again afterwards."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        ended = in_trouble(nursery, disk / "run", "full")
        assert ended.code == 2, ended.said
        assert re.search(f"{SAYS_BYTES}: No space left on device", plain(ended.said)), ended.said
        checkpoint_of(disk / "run")
        (disk / "ballast").unlink()
        resumed(nursery, disk / "run", alone)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("trouble", ["read_only", "unwritable_table"])
def test_a_folder_that_becomes_read_only(
    nursery: Nursery, alone: Path, tmp_path: Path, writable_again: None, trouble: str
) -> None:
    run = tmp_path / "run"
    ended = in_trouble(nursery, run, trouble)
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert "Permission denied" in plain(ended.said)
    assert "bytes are free" in plain(ended.said)
    checkpoint_of(run)
    subprocess.run(["chmod", "-R", "u+rwX", str(run)], check=True)
    resumed(nursery, run, alone)


def test_a_folder_that_vanishes_is_not_made_again(nursery: Nursery, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = in_trouble(nursery, run, "vanished")
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert str(run) in plain(ended.said)
    assert not run.exists()


def test_a_folder_that_cannot_be_made(nursery: Nursery, tmp_path: Path, writable_again: None) -> None:
    (tmp_path / "shut").mkdir(mode=0o555)
    run = tmp_path / "shut" / "run"
    ended = in_trouble(nursery, run, "vanished")
    assert ended.code == 2
    assert f"the run folder {run} cannot be made: Permission denied" in plain(ended.said)


def test_a_run_folder_that_is_a_file(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    for arguments in (["train", "dreamer", *SHORT, f"run_dir={tmp_path / 'run'}"], ["resume", str(tmp_path / "run")]):
        ended = nursery.run("deeds:command", arguments=[*arguments, "--no-progress"])
        assert ended.code == 2, ended.said
        assert "Traceback" not in ended.said
        assert "it is a file" in plain(ended.said) or "exists and is not an empty folder" in plain(ended.said)
    assert (tmp_path / "run").read_text() == "mine"


# More than one process.


def test_two_processes_in_one_folder(nursery: Nursery, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = in_trouble(nursery, run, "another_process", place="collection", times=2)
    assert ended.code == 0, ended.said
    told = plain(ended.said)
    assert len(re.findall(rf"{run} is in use by process \d+ on \S+ since", told)) == 2  # resume, export
    assert "holds a run already; go on with it by `reverie resume" in told  # train
    assert "Traceback" not in told
    assert differences(final_state(alone), final_state(run)) == []


def test_a_lock_whose_holder_was_killed_is_free_although_its_worker_hangs(nursery: Nursery, tmp_path: Path) -> None:
    overrides = ["env.fault=sleep", "env.every=1", "environments.workers=processes"]
    run = tmp_path / "run"
    died = nursery.run(
        "deeds:train_stumbling", run=run, overrides=overrides, notes=tmp_path / "workers", kill_after=6, timeout=60
    )
    assert died.code == -9, died.said
    folder = RunFolder(run)
    folder.lock()
    folder.unlock()
    (worker,) = map(int, (tmp_path / "workers").read_text().split())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}/cmdline").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert time.monotonic() < deadline, "the worker outlived the run"


def test_a_holder_that_has_ended_is_told(tmp_path: Path) -> None:
    """Only a process that it left behind can hold its lock then."""
    folder = RunFolder.create(tmp_path / "run")
    folder.lock()
    gone = subprocess.Popen(["true"])
    gone.wait()
    holder = (folder.path / ".holder.json").read_text()
    (folder.path / ".holder.json").write_text(holder.replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}'))
    other = RunFolder(folder.path)
    with pytest.raises(RunError, match=f"process {gone.pid} on .*, which has ended, but left a process behind"):
        other.lock()
    folder.unlock()


# Loggers.


def failing_logger() -> Any:
    """A logger of Lightning's whose place cannot be written."""
    from pytorch_lightning.loggers import Logger

    class FailingLogger(Logger):
        calls = 0

        @property
        def name(self) -> str:
            return "failing"

        @property
        def version(self) -> str:
            return ""

        def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
            pass

        def log_metrics(self, *arguments: Any, **options: Any) -> None:
            FailingLogger.calls += 1
            raise OSError(28, "No space left on device")

    return FailingLogger()


def test_a_logger_that_cannot_write_is_left_out(alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from reverie.extension.manager import load_plugins
    from reverie.recipes.prepare import prepare

    logger = failing_logger()
    recipe = prepare("dreamer", SHORT, plugins=load_plugins())
    result = train(recipe, run_dir=tmp_path / "run", loggers=[logger], progress=False)
    assert result.status == "completed"
    assert type(logger).calls == 1
    told = plain(capfd.readouterr().out)
    assert "FailingLogger cannot log and is left out from here on: OSError: [Errno 28] No space left" in told
    assert differences(final_state(alone), final_state(result.run_dir)) == []


def test_tensorboard_whose_folder_cannot_be_made_is_told_before_anything_is_trained(
    nursery: Nursery, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", "dreamer", *SHORT, "logging.tensorboard=true", f"run_dir={run}", "--no-progress"]
    ended = nursery.run(
        "deeds:command_in_trouble", arguments=arguments, run=run, trouble="no_tensorboard", place="beginning", times=1
    )
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert f"'{run}/metrics/tensorboard'" in plain(ended.said)


# The one layer through which folders are changed.


def test_the_training_package_changes_files_only_in_one_module() -> None:
    """Or a change would be missed by the kills and by the simulated power cuts."""
    import reverie.training

    writing = re.compile(
        r"\.write_(text|bytes)\(|\.(mkdir|unlink|rmdir|touch|symlink_to)\(|rmtree|save_file\(|os\.(replace|rename|remove)"
        r"|\.open\(\"[wax]|torch\.save\((?!value, file\))|Path\.rename|\.rename\((?!source|\w+, )|\.truncate\("
    )
    root = Path(reverie.training.__file__).parent
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        if path.name not in ("durable.py", "archive.py")  # importing a run is no run
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if writing.search(line)
    ]
    assert found == []
