"""Notes 2, 4, 6 and 20 for learners from elsewhere: what their environments show, and what is written about them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from reverie.contracts import Counters
from reverie.evaluation.policies import RandomPolicy
from reverie.recipes.schema import Settings
from reverie.testing.environments import AlignmentFactory, alignment_errors
from reverie.training import external
from reverie.training.rows import LoopConverter, Rows
from reverie.training.run_folder import RunFolder
from reverie.training.signals import StopFlag


class Repeats(AlignmentFactory):
    """One decision lasts two frames."""

    action_repeat = 2


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> external.ExternalRun:
    """A run of no recipe, in the alignment environment, with a budget of 500 frames."""
    monkeypatch.setattr(external, "build_environment", lambda recipe: Repeats())
    settings = Settings.model_validate(
        {"budget": {"env_steps": 500}, "evaluation": {"episodes": 3, "mode": "sample", "seed": 7}}
    )
    folder = RunFolder(tmp_path / "run")
    folder.metrics.mkdir(parents=True)
    return external.ExternalRun(SimpleNamespace(settings=settings), folder, None, StopFlag())  # type: ignore[arg-type]


def test_true_ends_and_limits_are_told_apart_and_every_row_is_aligned(run: external.ExternalRun) -> None:
    """Whoever bootstraps at a time limit needs the truncated flag and the last observation, and here they are."""
    vector = run.make_environments(3)
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    converter = LoopConverter(run.factory.action, AutoresetMode.NEXT_STEP)
    streams = [[rows] for rows in converter.reset(vector.reset(seed=3)[0])]
    vector.action_space.seed(0)
    acted = 0
    for _ in range(80):
        action = vector.action_space.sample()
        for stream, rows in zip(streams, converter.step(action, *vector.step(action)), strict=True):
            stream.append(rows)
            acted += int((~rows.is_first).sum())
    vector.close()
    for parts in streams:
        rows = Rows.cat(parts)
        columns = {"action": rows.action, "reward": rows.reward, "is_first": rows.is_first, **rows.obs}
        assert alignment_errors({**columns, "is_terminal": rows.is_terminal, "is_last": rows.is_last}) == []
        assert rows.is_terminal.sum() > 1
        assert (rows.is_last & ~rows.is_terminal).sum() > 1
    # The step that a reset takes the place of is no decision and costs no frames.
    assert acted < 3 * 80
    assert (run.counters.agent_steps, run.counters.env_steps) == (acted, 2 * acted)


def test_its_evaluations_say_how_they_were_played(run: external.ExternalRun) -> None:
    run.counters = Counters(env_steps=120, agent_steps=60)
    mean = run.evaluate(RandomPolicy(run.factory.action))
    run.report.sync()
    (line,) = [json.loads(one) for one in (run.folder.metrics / "evaluations.jsonl").read_text().splitlines()]
    assert (line["env_steps"], line["mode"], line["explore"], line["seeds"]) == (120, "sample", False, [7, 8, 9])
    assert line["mean"] == mean == pytest.approx(np.mean(line["returns"]))
