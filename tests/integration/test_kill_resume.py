"""kill -9 at random moments: a resumed run ends bit for bit where the uninterrupted one did."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill_and_resume.py"


def kills(folder: Path, number: int, seed: int, *overrides: str) -> None:
    command = [sys.executable, str(SCRIPT), str(folder), str(number), str(seed), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert [entry["differences"] for entry in results] == [[]] * number, json.dumps(results, indent=1) + done.stderr
    assert any(entry["killed"] == -9 for entry in results), "every run ended before it was killed"


@pytest.mark.slow  # `make test` kills a run of every family: `tests/faults/test_kills.py`
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    kills(tmp_path, 5, 0)


@pytest.mark.slow
def test_many_killed_runs_with_several_environments_and_long_ticks(tmp_path: Path) -> None:
    long_ticks = ["environments.count=3", "stages.1.collect.steps=4", "stages.1.ratio=9", "checkpoints.ticks=2"]
    kills(tmp_path / "a", 20, 1, *long_ticks)
    kills(tmp_path / "b", 10, 2, "env=pendulum", "env.time_limit=12")
