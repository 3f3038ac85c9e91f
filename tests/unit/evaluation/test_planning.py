"""`reverie plan`: what is kept of a planner's thoughts, and what is drawn of it, on tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

from reverie.assembly.imagination import Imagination
from reverie.cli.main import run as reverie
from reverie.contracts import Sampling
from reverie.evaluation.planning import plan
from reverie.evaluation.planning.fans import ActionGrid, FanPanel, Stroke
from reverie.evaluation.planning.film import ACT_FRAMES, END_FRAMES, ROUND_FRAMES
from reverie.evaluation.planning.thoughts import Thinker, Verdict, think, thoughts, verdict
from reverie.evaluation.recording import Recording, record
from reverie.evaluation.reopen import Opened, reopen
from reverie.testing.toys import ToyPlanner

CEM = ("planner=cem", "planner.horizon=5", "planner.candidates=12", "planner.elites=3", "planner.iterations=3")


@pytest.fixture(scope="module")
def pole(run: Path) -> Opened:
    return reopen(run, CEM)


@pytest.fixture(scope="module")
def pendulum(blind_run: Path) -> Opened:
    return reopen(blind_run, CEM)


def test_thinking_aloud_changes_nothing(pole: Opened) -> None:
    aloud, _ = think(pole.agent, pole.factory, 5, 6, "mode")
    (silent,) = record(pole.agent, pole.factory, [5], mode="mode", max_steps=6 + 5)
    assert np.array_equal(aloud.action, silent.action)
    assert np.array_equal(aloud.reward, silent.reward)
    assert type(pole.agent.imagination) is Imagination, "the plain one is back"


def test_every_round_of_every_decision_is_kept(pole: Opened) -> None:
    recording, decisions = think(pole.agent, pole.factory, 5, 3, "mode")
    assert len(decisions) == 3
    assert len(recording) - 1 == 3 + 5, "as much more as the last plan needs to be judged"
    for row, decision in enumerate(decisions):
        assert [tuple(one.plans.shape) for one in decision.rounds] == [(12, 5, 2)] * 3
        assert [tuple(one.scores.shape) for one in decision.rounds] == [(12,)] * 3
        assert decision.chosen is not None
        assert np.array_equal(decision.chosen[0].numpy(), recording.action[row + 1])
        assert decision.state is not None
        assert decision.state.batch_shape == (1,)


def test_the_imagination_comes_back_after_a_failure(pole: Opened) -> None:
    thinker = Thinker(pole.agent)
    state = thinker.initial(1, [0])
    with pytest.raises(ValueError, match="observations are a dict"):
        thinker.act({}, state, np.ones(1, dtype=bool))
    assert type(pole.agent.imagination) is Imagination


def test_fans_hold_the_elites_and_what_the_model_expects_of_them(pole: Opened) -> None:
    _, decisions = think(pole.agent, pole.factory, 5, 3, "mode")
    (thought, *_rest) = thoughts(pole.agent, decisions, "mode", rounds=2)
    assert thought.sizes == (3, 12, 5)
    assert len(thought.fans) == 2, "the first and the last of three rounds"
    for fan, kept in zip(thought.fans, (decisions[0].rounds[0], decisions[0].rounds[2]), strict=True):
        assert fan.elite.sum() == 3
        best = kept.plans[kept.scores.topk(3).indices].numpy()
        drawn = fan.future.actions[fan.elite].reshape(3, -1)
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, best.reshape(3, -1)))
        assert fan.future.obs["state"].shape == (12, 6, 4)
        assert fan.future.gain.shape == (12, 6)
        np.testing.assert_allclose(fan.future.gain[:, -1], fan.future.reward.sum(1), rtol=1e-5)
    chosen = thought.chosen
    assert chosen.actions.shape == (1, 5, 2)
    state, plan_ = decisions[0].state, torch.from_numpy(chosen.actions)[None]
    assert state is not None
    with torch.no_grad():
        scores = pole.agent.imagination.score(state, plan_, sampling=Sampling(mode="mode"), continues=False)
    np.testing.assert_allclose(float(scores), chosen.reward.sum(), rtol=1e-4, atol=1e-6)


def test_a_planner_that_does_not_say_what_it_chose_is_understood(run: Path) -> None:
    opened = reopen(run)
    agent = opened.agent
    object.__setattr__(agent, "planner", ToyPlanner(None, agent.action, None))
    recording, decisions = think(agent, opened.factory, 1, 3, "mode")
    assert decisions[0].chosen is None
    found = thoughts(agent, decisions, "mode", 4)
    for thought in found:
        assert np.array_equal(thought.chosen.actions[0, 0], recording.action[thought.step + 1])


def test_the_verdict_compares_the_same_steps() -> None:
    class Planned:
        def __init__(self, step: int) -> None:
            self.step, self.horizon = step, 3
            self.chosen = type("Future", (), {"reward": np.array([[1.0, 2.0, 4.0]])})

    reward = np.array([0.0, 1.0, 1.0, 2.0, 8.0], np.float32)
    recording = Recording({}, np.zeros((5, 1)), reward, np.zeros(5, bool), 0)
    found: Any = [Planned(0), Planned(2)]
    result = verdict(recording, found)
    assert result.came.tolist() == [4.0, 10.0]
    assert result.planned.tolist() == [7.0, 3.0], "two steps were left after the second decision"
    assert result.error == 5.0
    assert result.correlation is None
    assert Verdict(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])).correlation == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fixture", "overrides", "noted"),
    [
        ("run", CEM, False),
        ("image_run", ("planner=guided", "planner.candidates=6", "planner.horizon=4"), False),
        ("blind_run", ("planner=mppi", "planner.candidates=8", "planner.elites=3", "planner.iterations=6"), True),
        ("blind_run", ("planner=gradient", "planner.candidates=3", "planner.iterations=2"), True),
    ],
)
def test_a_picture_and_a_film(
    fixture: str, overrides: tuple[str, ...], noted: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Discrete and continuous actions; vectors, images and no decoder; one round and many."""
    made = plan(request.getfixturevalue(fixture), overrides, steps=2, out=tmp_path / "plan.mp4")
    assert made.picture == tmp_path / "plan.png"
    assert made.film == tmp_path / "plan.mp4"
    with Image.open(made.picture) as image:
        assert image.width == 1280
        assert image.height >= 600
        assert len(image.getcolors(1 << 24) or []) > 50
    frames = imageio.mimread(made.film, memtest=False)
    drawn = {"cem": 3, "guided": 1, "mppi": 4, "gradient": 3}[overrides[0].partition("=")[2]]
    assert len(frames) == 2 * (drawn * ROUND_FRAMES + ACT_FRAMES) + END_FRAMES
    assert any("no decoder" in note for note in made.notes) is noted
    assert len(made.verdict.planned) == len(made.verdict.came) == 2
    assert not np.array_equal(frames[0], frames[-1])


def test_one_decision_alone_and_by_number(run: Path, tmp_path: Path) -> None:
    made = plan(run, CEM, steps=3, at=2, out=tmp_path / "one.png")
    assert (made.film, made.step) == (None, 2)
    other = plan(run, CEM, steps=3, at=1, out=tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    again = plan(run, CEM, steps=3, at=2, out=tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "one.png").read_bytes(), "nothing is left to chance"
    assert other.horizon == again.horizon == 5


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = reverie([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_verb_says_what_it_wrote_and_how_plans_turned_out(run: Path, ask: Ask) -> None:
    code, out, err = ask("plan", run, *CEM, "--steps", 3, "--no-film")
    assert code == 0, err
    said = " ".join(out.split())
    assert "reward over the next 5 steps: planned" in said
    assert "means of 3 decisions" in said
    assert (run / "videos" / "plan.png").is_file()
    assert not (run / "videos" / "plan.mp4").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "this planner does not search"),
        ((*CEM, "--at", "99"), "there is no decision 99: this episode has decisions 0 to 3"),
        ((*CEM, "--out", "plan.txt"), "chosen by the file's ending"),
        (("dynamics.deter=9",), "cannot be changed for an evaluation"),
        (("planner=exhaustive", "planner.horizon=40"), "and the budget is 4,096"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Path, ask: Ask, words: tuple[str, ...], said: str) -> None:
    code, _, err = ask("plan", run, *words, "--steps", 4, "--no-film")
    assert code == 2
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_lines_outside_the_axis_stay_at_its_edge_and_gaps_stay_open() -> None:
    panel = FanPanel("x", (400, 200), 2, 4, (0.0, 1.0))
    bare = np.asarray(panel.draw([]))
    high = np.asarray(panel.draw([Stroke(np.array([5.0, 9.0, 7.0]), 0, (200, 0, 0), 3)]))
    changed = (bare != high).any(2)
    rows = np.flatnonzero(changed.any(1))
    assert rows.size
    assert abs(rows.mean() - panel.y(panel.high)) < 4
    gap = Stroke(np.array([0.5, np.nan, np.nan, 0.5]), -1, (200, 0, 0), 3)
    columns = np.flatnonzero((bare != np.asarray(panel.draw([gap]))).any(2).any(0))
    assert not ((columns > panel.x(-0.7)) & (columns < panel.x(1.7))).any()


def test_a_grid_is_darker_where_more_elites_agree() -> None:
    grid = ActionGrid("x", (400, 160), 0, 4, 2)
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]])
    image = np.asarray(grid.draw(shares, None, np.zeros(0))).astype(int)
    frame = grid.frame
    height = (160 - frame.top - frame.bottom) / 2

    def shade(step: int, action: int) -> int:
        x, y = round(frame.x(step + 0.5)), round(frame.top + (action + 0.5) * height)
        return int(image[y, x].sum())

    assert shade(0, 0) < shade(1, 0) < shade(2, 0)
    assert shade(0, 1) > shade(1, 1) > shade(2, 1)
