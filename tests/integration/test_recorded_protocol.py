"""Correctness notes 6 and 20 in a whole run: every line says in frames when it was written, and how it was played."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverie.cli.main import run as reverie
from reverie.training.run import train
from reverie.training.run_folder import read_status

Make = Callable[..., Any]
SHORT = [
    "env=pendulum",
    "env.action_repeat=2",
    "env.time_limit=12",
    "stages.0.until.env_steps=24",
    "stages.1.until.env_steps=24",
]
"""Episodes of 12 frames, 6 decisions: 24 frames of random actions, then 24 of learning."""


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics" / "evaluations.jsonl").read_text().splitlines()]


def test_every_line_of_a_run_says_its_mode(
    tmp_path: Path, tiny_recipe: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["evaluation.every=12", "evaluation.episodes=2", "evaluation.mode=sample"]
    run = train(tiny_recipe(*SHORT, *options), run_dir=tmp_path / "run", progress=False).run_dir
    lines = lines_of(run)
    assert [line["env_steps"] for line in lines] == [12, 24, 36, 48]
    for line in lines:
        played = (line["mode"], line["explore"], line["seed"], line["seeds"])
        assert played == ("sample", False, 1_000_000, [1_000_000, 1_000_001])
    # Asked without an option, the verb plays by the recipe's protocol: the same episodes, and says so.
    capsys.readouterr()
    assert reverie(["evaluate", str(run), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["mode"], shown["returns"]) == ("sample", lines[-1]["returns"])


def test_with_action_repeat_a_run_counts_frames_and_its_ratio_decisions(tmp_path: Path, tiny_recipe: Make) -> None:
    """48 frames are 24 decisions, 12 of them random; a ratio of 6 makes 6 updates of 12 steps of the other 12."""
    run = train(tiny_recipe(*SHORT, "evaluation.every=null"), run_dir=tmp_path / "run", progress=False).run_dir
    status = read_status(run)
    assert (status["env_steps"], status["agent_steps"], status["updates"]) == (48, 24, 6)
    with (run / "metrics" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["env_steps"]) for row in rows][:4] == [10, 20, 24, 34]
    assert all(int(row["env_steps"]) == 2 * int(row["agent_steps"]) for row in rows)
    assert float(next(row["train/replay_ratio"] for row in reversed(rows) if row["train/replay_ratio"])) == 3.0
    assert [(line["env_steps"], line["mode"]) for line in lines_of(run)] == [(48, "mode")]
