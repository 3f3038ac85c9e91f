"""One tiny run for all hostile files; each test changes a copy, and may neither write elsewhere nor fill the memory."""

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reverie import train
from reverie.cli.main import run as run_command

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one, whatever pytest's import mode

from victims import Refused, Victim

TINY = [
    *("env=cartpole", "env.time_limit=12", "dynamics.deter=8", "dynamics.hidden=8", "dynamics.groups=2"),
    *("dynamics.classes=3", "encoder.units=8", "encoder.layers=1", "decoder.units=8", "decoder.layers=1"),
    *("heads.reward.units=8", "heads.continue.units=8", "heads.value.units=8", "actor.units=8", "actor.layers=1"),
    *("learners.behaviour.horizon=3", "learners.behaviour.starts=4", "replay.batch_size=2", "replay.length=6"),
    *("replay.chunk=32", "stages.0.until.env_steps=12", "stages.1.until.env_steps=16", "stages.1.ratio=6"),
    *("evaluation.episodes=1", "logging.every=10", "logging.tensorboard=false", "trainer.threads=1"),
]
ROOM = 1536 * 2**20
"""Bytes of address space that a command may take beyond what the process has: far less than any of the bombs."""


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    train("dreamer", TINY, run_dir=folder)
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"status": "interrupted"}))
    return folder


@pytest.fixture
def victim(run_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_once, tmp_path / "run")
    return Victim(Path("run"))


@pytest.fixture
def bounded() -> Iterator[None]:
    """Within, the process may not grow by more than `ROOM`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGESIZE") + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def refused(tmp_path: Path, bounded: None, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command and gives back what it said, after the promises that hold for every hostile file: exit code 2,
    a short message without a traceback or control characters, and nothing new outside of the run."""

    def check(*arguments: str, code: int = 2) -> str:
        before = {path.name for path in tmp_path.iterdir()}
        capfd.readouterr()
        found = run_command(list(arguments))
        out, err = capfd.readouterr()
        assert {path.name for path in tmp_path.iterdir()} == before, "something appeared"
        assert not list(tmp_path.rglob("canary*"))
        said = out + err
        assert found == code, said
        assert "Traceback" not in said
        assert all(character.isprintable() or character in "\n\t" for character in said), ascii(said)
        assert len(said) < 4000
        return said

    return check
