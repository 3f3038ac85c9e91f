"""Runs that learn from recorded data: with and without an environment, resumed, judged, dreamed, exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offline_recipe import OFFLINE

import reverie
from recorded import write_folder
from reverie.cli.main import run as command
from reverie.errors import RecipeError, ReverieError, RunError
from reverie.evaluation.reopen import reopen
from reverie.evaluation.world_model.judge import ANOTHERS
from reverie.training.offline import held_out_indices, held_out_recordings
from tiny_runs import differences, final_state, rows_of


def train(place: Path, *overrides: str) -> Path:
    assert reverie.train("offline", [*OFFLINE, *overrides], run_dir=place).status == "completed"
    return place


def test_what_was_learned_from_is_all_that_is_not_held_out(run: Path, episodes: Any) -> None:
    opened = reopen(run)
    facts = opened.recipe.data_facts
    held = held_out_indices(12, 0.1)
    lengths = [len(rows["reward"]) + 1 for rows in episodes]
    assert (facts.episodes, facts.held_out, facts.rows) == (12, 1, sum(lengths) - sum(lengths[i] for i in held))
    learned = [obs for i, rows in enumerate(episodes) if i not in held for obs in rows["obs"]]
    normalizer = opened.agent.normalizers["state"]
    np.testing.assert_allclose(normalizer.mean.numpy(), np.mean(learned, 0), rtol=1e-4, atol=1e-6)
    (kept,) = held_out_recordings(run, opened.agent.observation, opened.agent.action)
    np.testing.assert_array_equal(kept.obs["state"], np.stack(episodes[next(iter(held))]["obs"]))


def test_without_an_environment_only_the_model_is_judged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", str(run)]) == 2
    assert "no environment" in (told := capsys.readouterr().err)
    assert "--world-model" in told
    assert "env=" in told
    assert command(["evaluate", str(run), "--world-model", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["world_model"]["conditions"]["episodes"] == 1
    assert "mean" not in said
    assert said["world_model"]["policy"]["why"] in ("this recipe has neither a planner nor an actor", ANOTHERS)
    assert command(["evaluate", str(run), "--world-model"]) == 0
    assert "held-out" in capsys.readouterr().out
    assert command(["evaluate", str(run), "--world-model", "--random"]) == 2
    assert "no environment for a random policy" in capsys.readouterr().err


def test_named_an_environment_it_plays_like_any_other_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", str(run), "env=cartpole", "env.time_limit=20", "--episodes", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["returns"]) == 2
    planned = [str(run), "env=cartpole", "env.time_limit=5", "planner=random_shooting", "planner.candidates=8"]
    assert command(["evaluate", *planned, "--episodes", "1", "--json"]) == 0
    with pytest.raises(RunError, match="other observations"):
        reopen(run, ["env=pendulum"])


def test_it_dreams_and_is_dreamed_in(run: Path, tmp_path: Path) -> None:
    from reverie.evaluation.dream import dream

    film = dream(run, out=tmp_path / "dream.gif", horizon=6, context=2)
    assert len(film.dreams) == 1, "the held-out episode"
    env = reverie.dream_env(run)
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    with pytest.raises(RunError, match="no environment"):
        reverie.dream_env(run, start="environment").reset(seed=0)
    with pytest.raises(RunError, match="no environment"):
        reverie.real_env(run)


def test_metrics_of_the_model_are_written_while_it_learns(folder: Path, from_folder: list[str], tmp_path: Path) -> None:
    place = train(tmp_path / "run", *from_folder, "evaluation.every=5", "data.held_out=0.3")
    entries = [json.loads(line) for line in (place / "metrics" / "evaluations.jsonl").read_text().splitlines()]
    assert [entry["updates"] for entry in entries] == [5, 10, 12]
    assert all("world_model" in entry and "mean" not in entry for entry in entries)
    found = {name for row in rows_of(place) for name, value in row.items() if name.startswith("world/") and value}
    assert found
    assert not [name for name in found if "gap" in name or "world/value" in name], "another policy recorded these"


def test_a_resumed_run_ends_in_the_same_numbers_even_without_the_data(
    episodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two checkpoints; then the folder is gone."""
    from reverie.training.ticks import Ticker

    folder = write_folder(episodes, tmp_path / "data")
    options = ["data=episodes", f"data.folder={folder}", "data.choices=2", "checkpoints.ticks=5"]
    whole = train(tmp_path / "whole", *options)
    ticks = Ticker.tick

    def failing(self: Ticker) -> bool:
        if self.counters.updates == 7:
            raise RuntimeError("the power is gone")
        return ticks(self)

    with monkeypatch.context() as patch:
        patch.setattr(Ticker, "tick", failing)
        with pytest.raises(RuntimeError, match="the power"):
            train(tmp_path / "cut", *options)
    shutil.rmtree(folder)
    assert reverie.resume(tmp_path / "cut").status == "completed"
    assert differences(final_state(whole), final_state(tmp_path / "cut")) == []
    assert rows_of(whole) == rows_of(tmp_path / "cut")


def test_a_lock_repeats_the_run_and_refuses_other_data(run: Path, folder: Path, episodes: Any, tmp_path: Path) -> None:
    again = reverie.train(run / "recipe.lock.yaml", run_dir=tmp_path / "again").run_dir
    assert differences(final_state(run), final_state(again)) == []
    shorter = write_folder(episodes[:-1], tmp_path / "shorter")
    lock = tmp_path / "recipe.lock.yaml"
    lock.write_text((run / "recipe.lock.yaml").read_text().replace(str(folder), str(shorter)))
    with pytest.raises(RecipeError, match="not the data that this lock was made with"):
        reverie.train(lock, run_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_exported_run_takes_its_held_out_episodes_along(run: Path, tmp_path: Path) -> None:
    from reverie.training.archive import export_run, import_run

    export_run(run, tmp_path / "run.zip")
    there = import_run(tmp_path / "run.zip", tmp_path / "there").run
    opened = reopen(there)
    assert len(held_out_recordings(there, opened.agent.observation, opened.agent.action)) == 1
    assert command(["evaluate", str(there), "--world-model"]) == 0


def test_data_and_an_environment_together(from_folder: list[str], tmp_path: Path) -> None:
    """The data fills the replay, the environment goes on filling it, and evaluations play."""
    options = ["env=cartpole", "env.time_limit=8", "evaluation.episodes=1", "stages.learn.collect.policy=random"]
    place = train(tmp_path / "run", *from_folder, *options, "stages.learn.until.updates=6")
    opened = reopen(place)
    own = opened.checkpoint.plain("process-0.pt")
    assert own["replay"]["streams"] == 2
    rows = sum(chunk[1] for chunk in own["replay"]["chunks"])
    assert (
        rows
        >= opened.recipe.data_facts.rows + opened.checkpoint.counters["agent_steps"]
        > opened.recipe.data_facts.rows
    )
    entries = [json.loads(line) for line in (place / "metrics" / "evaluations.jsonl").read_text().splitlines()]
    assert "mean" in entries[-1]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["replay.length=5000"], "rows to learn from .*replay.length=5000"),
        (["replay.length={vectors: 4000, images: 4}"], "rows to learn from .*replay.length=4000"),
        (["replay.capacity=50"], "replay.capacity=50"),
        (["env=pendulum"], "its observations are .*and those of the environment"),
        (["stages.learn.collect.policy=random"], "no environment"),
        (["data=null"], "env: this slot is empty"),
        (["data.folder=/nowhere/at/all"], "no folder"),
        (["data.choices=null"], "data.choices"),
        (["data.held_out=1.5"], "held_out"),
        (["stages.learn.until.updates=null", "stages.learn.until.env_steps=9"], "would never end"),
    ],
)
def test_recipes_that_cannot_learn_from_data(
    overrides: list[str], told: str, from_folder: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ReverieError) as caught:
        reverie.train("offline", [*OFFLINE, *from_folder, *overrides], run_dir=tmp_path / "run")
    import re

    assert re.search(told, str(caught.value).replace("\n", " ")), str(caught.value)
    assert not (tmp_path / "run").exists()


def test_check_finds_the_same(from_folder: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", "offline", *from_folder]) == 0
    assert command(["check", "offline", *from_folder, "replay.length={vectors: 4, images: 4000}"]) == 0
    capsys.readouterr()
    assert command(["check", "offline", *from_folder, "replay.length=5000"]) != 0
    out = capsys.readouterr()
    assert "replay.length=5000" in out.out + out.err
