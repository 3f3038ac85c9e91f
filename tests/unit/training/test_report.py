"""What a run writes down of its evaluations, and what the display is told of them."""

from pathlib import Path
from typing import Any

from reverie.contracts import Counters
from reverie.recipes.schema import Settings
from reverie.training.metrics import Averages
from reverie.training.report import Report
from reverie.training.run_folder import RunFolder

STAGE = {"name": "s", "collect": {"policy": "random"}, "until": {"env_steps": 9}}
PLAYED: dict[str, Any] = {"mean": 1.0, "std": 0.0, "lengths": [20]}


def test_a_number_that_no_longer_applies_is_forgotten(tmp_path: Path) -> None:
    """Episodes became too short for 15 steps: the display must not go on telling the error of before."""
    settings = Settings.model_validate({"stages": [STAGE]})
    folder = RunFolder(tmp_path)
    folder.metrics.mkdir()
    report = Report(folder, settings, Averages())
    report.write_evaluation("s", Counters(env_steps=1), {**PLAYED, "world_model": {"error_1": 0.1, "error_15": 0.5}})
    assert report.latest["world/error_15"] == 0.5
    report.write_evaluation("s", Counters(env_steps=2), {**PLAYED, "world_model": {"error_1": 0.2}})
    assert report.latest["world/error_1"] == 0.2
    assert "world/error_15" not in report.latest
    assert report.latest["eval/return"] == 1.0
