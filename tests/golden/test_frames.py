"""Correctness note 6: frames, decisions and the replay ratio, with an action repeat that tells them apart."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reverie.assembly import build
from reverie.contracts import Counters
from reverie.recipes.schema import Settings
from reverie.testing.environments import AlignmentFactory, plan_of
from reverie.training.metrics import Averages
from reverie.training.report import Report
from reverie.training.rollouts import CountedRollouts
from reverie.training.run_folder import RunFolder

RESULT = {"mean": 3.0, "std": 0.0, "lengths": [5], "mode": "mode"}


def test_lines_and_curves_count_frames_and_the_ratio_counts_decisions(tmp_path: Path) -> None:
    """40 frames are 10 decisions of 4; 160 replayed steps over them are a ratio of 16."""
    settings = Settings.model_validate({"evaluation": {"every": 40}, "logging": {"every": 40}})
    folder = RunFolder(tmp_path / "run")
    folder.metrics.mkdir(parents=True)
    report = Report(folder, settings, Averages())
    logger = Logger()
    report.loggers = [logger]
    counters = Counters(env_steps=39, agent_steps=10, replayed_steps=160, updates=5)
    assert not report.evaluation_due(counters)
    assert not report.line_due(counters)
    counters.env_steps = 40
    assert report.evaluation_due(counters)
    assert report.line_due(counters)
    assert report.write_line("train", counters)["train/replay_ratio"] == 16.0
    report.write_evaluation("train", counters, RESULT)
    assert report.curve == [(40, 3.0)]
    assert not report.evaluation_due(Counters(env_steps=79, agent_steps=79))
    assert report.evaluation_due(Counters(env_steps=80, agent_steps=20))
    assert logger.steps == [40, 40]
    report.sync()
    (line,) = (folder.metrics / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(line)["env_steps"] == 40
    with (folder.metrics / "metrics.csv").open(newline="") as file:
        assert [(row["env_steps"], row["agent_steps"]) for row in csv.DictReader(file)] == [("40", "10")] * 2


def test_components_are_told_the_repeat_that_the_environment_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory that says `action_repeat` and no more: a discount per frame would otherwise be one per decision."""
    monkeypatch.setattr(build, "_chosen", lambda recipe, slot: slot)
    monkeypatch.setattr(build, "_make", lambda choice, base: Repeats())
    assert Repeats().action.repeat == 1
    recipe = SimpleNamespace(choice=lambda slot: slot)
    assert build.build_environment(recipe).action.repeat == 4  # type: ignore[arg-type]


class Repeats(AlignmentFactory):
    """One decision lasts four frames."""

    action_repeat = 4


def test_episodes_of_learners_count_their_frames() -> None:
    factory, counters = Repeats(), Counters()
    seeds = [3, 4, 5]
    played = CountedRollouts(factory, counters).rollout(Still(factory.action.size), seeds)
    lengths = [plan_of(int(np.random.default_rng(seed).integers(1000)))[0] for seed in seeds]
    assert [episode.length for episode in played] == lengths
    assert counters.agent_steps == sum(lengths)
    assert counters.env_steps == 4 * sum(lengths)
    assert counters.episodes == 3


class Logger:
    """One of Lightning's, as far as a report knows it."""

    def __init__(self) -> None:
        self.steps: list[int | None] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.steps.append(step)


class Still:
    """Does nothing."""

    def __init__(self, size: int) -> None:
        self.size = size

    def initial(self, n: int, seeds: Any = None) -> int:
        return n

    def act(self, obs: Any, state: int, is_first: Any, *, explore: bool = False) -> tuple[Any, int]:
        return np.zeros((state, self.size), np.float32), state
