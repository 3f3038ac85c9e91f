"""`reverie evaluate`, `dream` and `curve` on tiny runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from reverie.cli.main import run as reverie
from reverie.evaluation.dream import HOLD, fitting_context

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = reverie([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def data(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == 0, answer[2]
    return json.loads(answer[1])


def last_evaluation(run: Path) -> Any:
    return json.loads((run / "metrics" / "evaluations.jsonl").read_text().splitlines()[-1])


# -- evaluate ----------------------------------------------------------------------------------------------------


def test_it_repeats_the_evaluation_at_the_end_of_training(run: Path, ask: Ask) -> None:
    found, trained = data(ask("evaluate", run, "--json")), last_evaluation(run)
    for key in ("mean", "std", "returns", "lengths", "seeds", "mode", "env_steps"):
        assert found[key] == trained[key]
    assert (found["planner"], found["environment"], found["random"]) == ("actor", "CartPole-v1", None)
    assert found["ms_per_decision"] > 0


def test_episodes_seed_and_mode_are_obeyed_and_repeatable(run: Path, ask: Ask) -> None:
    words = ("evaluate", run, "--episodes", 3, "--seed", 7, "--mode", "sample", "--json")
    first, second = data(ask(*words)), data(ask(*words))
    assert (first["seeds"], first["mode"], len(first["returns"])) == ([7, 8, 9], "sample", 3)
    assert first["returns"] == second["returns"]


def test_a_random_policy_stands_beside_it(run: Path, ask: Ask) -> None:
    found = data(ask("evaluate", run, "--random", "--json"))
    assert found["random"]["seeds"] == found["seeds"]
    code, out, _ = ask("evaluate", run, "--random")
    assert code == 0
    for word in ("dreamer on CartPole-v1", "agent", "random", "protocol: 2 episodes", "mode mode", "planner actor"):
        assert word in out


def test_another_planner_acts_on_the_same_weights(run: Path, ask: Ask) -> None:
    small = ("planner.candidates=4", "planner.horizon=2")
    found = data(ask("evaluate", run, "planner=cem", "planner.elites=2", "planner.iterations=2", *small, "--json"))
    assert found["planner"] == "cem"
    calls = max(found["lengths"])
    assert found["imagined_steps"] == calls * 2 * (2 * 4 * 2)  # 2 episodes side by side; rounds x plans x steps
    assert found["imagined_per_second"] == pytest.approx(1e3 * found["imagined_steps"] / (calls * found["ms_per_call"]))
    assert data(ask("evaluate", run, "--json"))["imagined_steps"] == 0, "an actor does not search"
    assert data(ask("evaluate", run, "planner=random_shooting", *small, "--json"))["planner"] == "random_shooting"


def test_the_speed_of_a_search_is_told(run: Path, ask: Ask) -> None:
    code, out, _ = ask("evaluate", run, "planner=guided", "planner.candidates=4", "planner.horizon=2")
    assert code == 0
    assert re.search(r"search   [\d.]+ ms per decision, [\d,]+ imagined steps per second", out)
    assert "planner guided" in out
    assert "imagined steps" not in ask("evaluate", run)[1]


def test_wiring_is_checked_again(run: Path, ask: Ask) -> None:
    code, _, err = ask("evaluate", run, "planner=mppi", "planner.horizon=20")
    assert (code, "planner (mppi) is for continuous actions" in err) == (2, True)
    code, _, err = ask("evaluate", run, "planner=exhaustive", "planner.horizon=20")
    assert (code, "2 actions over 20 steps are 1,048,576 plans" in err) == (2, True)


def test_a_planner_for_continuous_actions(blind_run: Path, ask: Ask) -> None:
    small = ("planner.candidates=6", "planner.elites=2", "planner.iterations=2", "planner.horizon=20")
    found = data(ask("evaluate", blind_run, "planner=mppi", *small, "env.time_limit=3", "--json"))
    assert (found["planner"], found["lengths"]) == ("mppi", [3, 3])
    # 3 of the 6 plans are the actor's: rolled out once, scored in both rounds
    assert found["imagined_steps"] == 3 * 2 * 20 * (3 + 2 * 6)
    descent = ("planner.candidates=2", "planner.iterations=2", "planner.horizon=3")
    found = data(ask("evaluate", blind_run, "planner=gradient", *descent, "env.time_limit=3", "--json"))
    assert found["imagined_steps"] == 3 * 2 * 3 * (3 * 2)


def test_another_time_limit(run: Path, ask: Ask) -> None:
    assert data(ask("evaluate", run, "env.time_limit=5", "--json"))["lengths"] == [5, 5]


def test_an_older_checkpoint_by_name(run: Path, ask: Ask) -> None:
    names = sorted(entry.name for entry in (run / "checkpoints").glob("checkpoint-*"))
    found = data(ask("evaluate", run, "--checkpoint", names[0], "--json"))
    assert (found["checkpoint"], found["env_steps"] < 40) == (names[0], True)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["dynamics.deter=16", "seed=3"], ["2 problems", "'dynamics.deter'", "'seed'", "planner=cem"]),
        (["heads/value=gaussian"], ["'heads/value'"]),
        (["decoder=null"], ["'decoder'"]),
        (["~decoder"], ["'decoder'"]),
        (["size=m"], ["'size'"]),
        (["planner"], ["'planner'"]),
        (["planner=cme"], ["cme", "cem"]),
        (["planner=cem", "planner.horizn=3"], ["horizn", "horizon"]),
        (["env=pendulum"], ["other observations"]),
        (["env.hide={state: [1]}"], ["other observations"]),
    ],
)
def test_only_planner_and_environment_may_change(run: Path, ask: Ask, overrides: list[str], words: list[str]) -> None:
    code, out, err = ask("evaluate", run, *overrides)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize("verb", ["evaluate", "dream", "curve"])
def test_a_folder_without_a_run(tmp_path: Path, ask: Ask, verb: str) -> None:
    code, _, err = ask(verb, tmp_path / "nothing")
    assert (code, "is not a run: there is no such folder" in err) == (2, True)


@pytest.mark.parametrize("verb", ["evaluate", "dream", "curve"])
def test_a_place_inside_a_run_names_the_run(run: Path, ask: Ask, verb: str) -> None:
    for inside in ("checkpoints", "recipe.lock.yaml"):
        code, _, err = ask(verb, run / inside)
        assert (code, f"lies in one; write {run}" in " ".join(err.split())) == (2, True)


def test_a_misspelt_slot_is_recognised(run: Path, ask: Ask) -> None:
    code, _, err = ask("evaluate", run, "planer=cem")
    assert (code, "did you mean 'planner'?" in err) == (2, True)


def test_a_checkpoint_that_does_not_exist(run: Path, ask: Ask) -> None:
    assert ask("evaluate", run, "--checkpoint", "checkpoint-00009999")[0] == 2
    assert ask("evaluate", run, "--checkpoint", "../../etc")[0] == 2


# -- dream -------------------------------------------------------------------------------------------------------


def test_the_video_lies_in_the_run_and_has_a_frame_per_step(run: Path, ask: Ask) -> None:
    code, out, err = ask("dream", run, "--episodes", 2, "--context", 3, "--horizon", 5)
    assert code == 0, err
    path = run / "videos" / "dream.mp4"
    assert str(path) in out
    with imageio.get_reader(path) as film:
        frames = [frame for frame in film]  # noqa: C416 (list() asks for its length, which is infinite)
    assert len(frames) == 2 * (8 + HOLD)
    assert frames[0].shape[1] == 1280


@pytest.mark.parametrize(
    ("rows", "context", "horizon", "fits"),
    [(64, 8, 56, 8), (12, 8, 4, 8), (36, 8, 56, 8), (10, 8, 56, 5), (3, 8, 56, 2), (2, 8, 56, 1), (9, 8, 1, 8)],
)
def test_short_episodes_leave_something_to_dream(rows: int, context: int, horizon: int, fits: int) -> None:
    assert fitting_context(rows, context, horizon) == fits


def test_a_dream_is_repeatable_and_its_seed_matters(run: Path, ask: Ask, tmp_path: Path) -> None:
    def still(name: str, seed: int) -> np.ndarray:
        path = tmp_path / name
        assert ask("dream", run, "--seed", seed, "--episodes", 1, "--horizon", 6, "--out", path)[0] == 0
        with Image.open(path) as image:
            return np.array(image)

    assert (still("a.png", 5) == still("b.png", 5)).all()
    assert (still("a.png", 5) != still("c.png", 6)).any()


def test_images_are_shown_beside_each_other(image_run: Path, ask: Ask, tmp_path: Path) -> None:
    code, _, err = ask("dream", image_run, "--episodes", 1, "--horizon", 4, "--out", tmp_path / "dream.gif")
    assert code == 0, err
    with Image.open(tmp_path / "dream.gif") as film:
        assert film.size[0] == 640


def test_without_a_decoder_it_says_why_and_shows_the_rewards(blind_run: Path, ask: Ask, tmp_path: Path) -> None:
    code, out, err = ask("dream", blind_run, "--episodes", 1, "--horizon", 4, "--out", tmp_path / "dream.png")
    assert code == 0, err
    assert "no decoder: observations not shown" in out
    assert (tmp_path / "dream.png").exists()


def test_an_unknown_kind_of_file(run: Path, ask: Ask, tmp_path: Path) -> None:
    code, _, err = ask("dream", run, "--episodes", 1, "--horizon", 2, "--out", tmp_path / "dream.avi")
    assert (code, ".mp4, .gif, .png" in err) == (2, True)


# -- curve -------------------------------------------------------------------------------------------------------


def test_the_curve_lies_in_the_run_with_the_random_policy_kept(run: Path, ask: Ask) -> None:
    code, out, err = ask("curve", run)
    assert code == 0, err
    assert str(run / "curve.png") in out
    kept = run / "metrics" / "random.json"
    assert json.loads(kept.read_text())["episodes"] == 20
    before = kept.stat().st_mtime_ns
    assert ask("curve", run, "--out", run / "other.svg")[0] == 0
    assert kept.stat().st_mtime_ns == before
