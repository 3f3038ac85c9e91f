"""`reverie evaluate RUN --world-model`, and the same numbers in `metrics.csv`, on tiny runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reverie.api import train as reverie_train
from reverie.cli.console import console
from reverie.cli.main import run as reverie

from .conftest import TINY, trained

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setattr(console, "width", 160)  # whatever terminal the tests run in

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = reverie([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def data(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == 0, answer[2]
    return json.loads(answer[1])


def test_the_table_has_a_row_for_each_horizon_and_a_reason_for_what_is_missing(run: Path, ask: Ask) -> None:
    code, out, _ = ask("evaluate", run, "--world-model")
    assert code == 0
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    header = next(line for line in out.splitlines() if line.startswith("steps ahead"))
    assert header.split()[2:] == ["model", "copy-last", "mean", "starts"]
    numbers = {line.split()[0]: line.split()[1:5] for line in out.splitlines() if line.split()[:1] in (["1"], ["5"])}
    assert numbers.keys() == {"1", "5"}
    assert all(float(value) > 0 for row in numbers.values() for value in row)
    assert out.count("longer than every held-out episode") == 3  # 15, 50 and rewards: this time limit is 12
    for name in ("reward error, 1 ahead", "active units", "KL, nats per step", "return gap", "value"):
        assert any(line.startswith(name) for line in lines.values()), name
    assert "nan" not in out.lower().split()
    assert "of 2" in next(line for line in lines.values() if line.startswith("active units"))


def test_a_random_policys_episodes_are_the_same_for_all_models(run: Path, ask: Ask, tmp_path: Path) -> None:
    found = data(ask("evaluate", run, "--world-model", "--random", "--json"))
    own, other = found["world_model"], found["world_model_random"]
    assert own == data(ask("evaluate", run, "--world-model", "--json"))["world_model"]
    assert other["observations"] != own["observations"]
    assert other["value"] == other["policy"] == {"why": "another policy played these episodes"}
    assert own["policy"] != other["policy"]
    assert found["random"]["returns"] == data(ask("evaluate", run, "--random", "--json"))["random"]["returns"]
    code, out, _ = ask("evaluate", run, "--world-model", "--random")
    assert code == 0
    assert out.index("on the agent's episodes") < out.index("on a random policy's episodes")

    small = ("env=cartpole", "decoder.units=8", "decoder.layers=1", "seed=5")
    third = data(ask("evaluate", trained("dreamer", tmp_path / "run", *small), "--world-model", "--random", "--json"))
    (mine, theirs) = (one["observations"]["overall"] for one in (other, third["world_model_random"]))
    assert [row.get("copy_last") for row in mine] == [row.get("copy_last") for row in theirs]
    assert [row.get("model") for row in mine] != [row.get("model") for row in theirs]


def test_where_nothing_acts_the_model_is_judged_on_random_episodes_alone(ask: Ask, tmp_path: Path) -> None:
    left_out = (
        "~actor",
        "~planner",
        "~learners/behaviour",
        "stages.1.learners=[model]",
        "stages.1.collect.policy=random",
    )
    kept = [line for line in TINY if not line.startswith(("actor", "learners.behaviour"))]
    place = reverie_train("dreamer", [*kept, "env=cartpole", *left_out], run_dir=tmp_path / "run").run_dir
    for words in (("--world-model",), ("--world-model", "--random")):
        found = data(ask("evaluate", place, *words, "--json"))
        assert "world_model" not in found
        assert found["world_model_random"]["policy"] == {"why": "this recipe has neither a planner nor an actor"}
        assert found["world_model_random"]["conditions"]["episodes"] == 2


def test_json_holds_every_horizon_and_the_returns_stay_what_they_were(run: Path, ask: Ask) -> None:
    plain, found = data(ask("evaluate", run, "--json")), data(ask("evaluate", run, "--world-model", "--json"))
    assert found["returns"] == plain["returns"]
    world = found["world_model"]
    overall = world["observations"]["overall"]
    assert len(overall) == 50
    assert overall[0]["horizon"] == 1
    assert overall[0]["model"] > 0
    assert "why" in overall[49]
    assert world["kl"]["nats"] >= 0
    assert world["conditions"]["discount"] == 0.997
    assert data(ask("evaluate", run, "--world-model", "--json"))["world_model"] == world
    assert "world_model" not in plain


def test_images_and_vectors_each_have_their_line(image_run: Path, ask: Ask) -> None:
    world = data(ask("evaluate", image_run, "--world-model", "--json"))["world_model"]
    entries = world["observations"]["entries"]
    assert len(entries) > 1
    first = [errors[0]["model"] for errors in entries.values()]
    assert world["observations"]["overall"][0]["model"] == pytest.approx(float(np.sqrt(np.mean(np.square(first)))))


def test_without_a_decoder_it_says_why_and_shows_the_rest(blind_run: Path, ask: Ask) -> None:
    code, out, _ = ask("evaluate", blind_run, "--world-model")
    assert code == 0
    assert "this recipe has no decoder" in out
    assert "no true end among the held-out steps" in out
    assert "reward bias" in out
    world = data(ask("evaluate", blind_run, "--world-model", "--json"))["world_model"]
    assert world["observations"] == {"why": "this recipe has no decoder"}


def test_training_writes_them_down_and_is_not_disturbed(ask: Ask, tmp_path: Path) -> None:
    small = ("env=cartpole", "decoder.units=8", "decoder.layers=1", "checkpoints.ticks=7")
    judged = trained("dreamer", tmp_path / "judged", *small)
    blind = trained("dreamer", tmp_path / "blind", *small, "evaluation.world_model=false")
    with (judged / "metrics" / "metrics.csv").open() as file:
        lines = [row for row in csv.DictReader(file) if row.get("eval/return")]
    assert len(lines) == 2
    world = data(ask("evaluate", judged, "--world-model", "--json"))["world_model"]
    last = lines[-1]
    assert float(last["world/error_1"]) == pytest.approx(world["observations"]["overall"][0]["model"], rel=1e-6)
    assert float(last["world/kl"]) == pytest.approx(world["kl"]["nats"], rel=1e-6)
    assert "world/error_50" not in last  # longer than every episode: no number rather than a wrong one
    returns = [
        json.loads((folder / "metrics" / "evaluations.jsonl").read_text().splitlines()[-1])["returns"]
        for folder in (blind, judged)
    ]
    assert returns[0] == returns[1]  # the run beside it, which was not judged, has learned the same
    with (blind / "metrics" / "metrics.csv").open() as file:
        plain = list(csv.DictReader(file))
    assert not [name for name in plain[-1] if name.startswith("world/")]
    losses = [name for name in plain[-1] if name.startswith("model/") and "per_second" not in name]
    assert losses
    with (judged / "metrics" / "metrics.csv").open() as file:
        with_world = list(csv.DictReader(file))
    assert [[row[name] for name in losses] for row in plain] == [[row[name] for name in losses] for row in with_world]
