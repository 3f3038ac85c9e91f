"""A run folder is never overwritten, belongs to one process, and says what state it is in."""

import subprocess
import sys
from pathlib import Path

import pytest

from reverie.errors import RunError
from reverie.training.durable import watched
from reverie.training.run_folder import LOCK_FILE, RunFolder, default_path, read_status


def test_an_existing_run_is_not_overwritten_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.recipe.write_text("name: x")
    with pytest.raises(RunError, match="reverie resume") as raised:
        RunFolder.create(tmp_path / "run")
    assert raised.value.exit_code == 2


def test_what_a_process_left_that_was_killed_before_its_run_began_is_used_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.lock()
    (folder.path / "provenance.json").write_text("{")
    (folder.path / ".staged").mkdir()
    (folder.path / ".staged" / LOCK_FILE).write_text("name: ha")
    folder.unlock()
    again = RunFolder.create(tmp_path / "run")
    again.install(lambda staged: (staged / LOCK_FILE).write_text("name: whole") and None)
    assert again.recipe.read_text() == "name: whole"
    assert not (again.path / ".staged").exists()
    with pytest.raises(RunError, match="holds a run"):
        again.refuse_another()


def test_a_folder_of_that_name_with_something_in_it_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "run" / "replay").mkdir(parents=True)
    (tmp_path / "run" / "replay" / "mine.npz").write_text("mine")
    with pytest.raises(RunError, match="not an empty folder"):
        RunFolder.create(tmp_path / "run")


def test_the_recipe_is_put_in_place_last(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    seen = []

    def write(staged: Path) -> None:
        for name in (LOCK_FILE, "provenance.json"):
            (staged / name).write_text("x")

    with watched(lambda operation: seen.append(operation.path.name) if operation.kind == "rename" else None):
        folder.install(write)
    assert seen == ["provenance.json", LOCK_FILE]


def test_other_files_are_not_overwritten_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for name in ("file", "full"):
        with pytest.raises(RunError, match="not an empty folder"):
            RunFolder.create(tmp_path / name)
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "below")


def test_opening_something_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=LOCK_FILE):
        RunFolder.open(tmp_path)


def test_a_second_process_is_told_who_holds_the_folder_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    code = (
        "import sys, os; from pathlib import Path; from reverie.training.run_folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1])); folder.lock(); print(os.getpid(), flush=True)\n"
        "sys.stdin.readline(); os._exit(1)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    with pytest.raises(RunError, match=f"process {pid} on"):
        folder.lock()
    holder.communicate("\n")
    folder.lock()
    folder.unlock()


def test_status_is_read_back_and_a_broken_one_is_empty(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.set_status("failed", "the disk is full", env_steps=3)
    status = folder.status()
    assert (status["status"], status["reason"], status["env_steps"]) == ("failed", "the disk is full", 3)
    (folder.path / "status.json").write_text('{"status": "run')
    assert read_status(folder.path) == {}


def test_default_names_cannot_leave_the_folder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = default_path("../../x", "dm_control/cartpole-swingup-v0\n\x1b[31m")
    assert path.parent == Path("runs")
    assert path.name.startswith("x-dm_control-cartpole-swingup-v0")
    path.mkdir(parents=True)
    assert default_path("../../x", "dm_control/cartpole-swingup-v0\n\x1b[31m") != path
