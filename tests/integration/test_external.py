"""An external learner in a one-file plugin trains through the same budget, evaluation, run folder and loader."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie import api
from reverie.errors import RecipeError

from .conftest import rows_of

PLUGIN = Path(__file__).parent / "search_plugin.py"
RECIPE = """
defaults:
  - env: cartpole
  - external: search
  - _self_
budget: {env_steps: 300}
evaluation: {episodes: 2}
logging: {every: 100, tensorboard: false}
"""


def trained(tmp_path: Path, *overrides: str, text: str = RECIPE) -> Any:
    recipe = tmp_path / "search.yaml"
    recipe.write_text(text)
    return api.train(recipe, overrides, run_dir=tmp_path / "run", plugin_files=[PLUGIN])


def test_it_trains_evaluates_saves_and_loads(tmp_path: Path) -> None:
    result = trained(tmp_path)
    assert result.status == "completed"
    run = result.run_dir
    status = json.loads((run / "status.json").read_text())
    assert status["status"] == "completed"
    assert status["env_steps"] == 300
    (entry,) = [json.loads(line) for line in (run / "metrics" / "evaluations.jsonl").read_text().splitlines()]
    assert entry["env_steps"] == 300
    assert entry["mean"] > 0
    assert {int(row["env_steps"]) for row in rows_of(run)} == {100, 200, 300}
    assert any(row["score"] for row in rows_of(run))
    policy = api.load(run, plugin_files=[PLUGIN])
    action, _ = policy.act({"state": np.ones((3, 4), np.float32)}, policy.initial(3), np.ones(3, bool))
    assert action.shape == (3, 2)


def test_a_learner_that_never_asks_is_ended_when_the_budget_is_spent(tmp_path: Path) -> None:
    result = trained(tmp_path, "external.greedy=true")
    assert result.status == "completed"
    assert json.loads((result.run_dir / "status.json").read_text())["env_steps"] == 300


def test_action_repeat_counts_frames(tmp_path: Path) -> None:
    result = trained(tmp_path, "env.action_repeat=2")
    status = json.loads((result.run_dir / "status.json").read_text())
    assert status["env_steps"] in (300, 301)
    assert status["agent_steps"] < 200


def test_without_a_budget_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="budget"):
        trained(tmp_path, "budget.env_steps=null")
