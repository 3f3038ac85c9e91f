"""`benchmarks/refit.py` on a run of forty steps: what it fits, and what it judges that on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import refit

LINE = re.compile(r"(\d+) updates, \d+ s: 1: ([\d.]+) \(([\d.]+)\), 5: ([\d.]+) \(([\d.]+)\)")


def told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> list[list[float]]:
    """Updates, model and baseline one step ahead, the same five steps ahead, of every line."""
    monkeypatch.setattr(refit, "EPISODES", 1)
    monkeypatch.setattr(sys, "argv", ["refit.py", str(run), "--updates", "400", *words])
    refit.main()
    return [[float(number) for number in match.groups()] for match in LINE.finditer(capsys.readouterr().out)]


def test_a_fresh_model_is_fitted_to_the_run_and_judged_on_its_policy(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(run, capsys, monkeypatch)
    assert [line[0] for line in found] == [100, 200, 300, 400]
    assert len({(line[2], line[4]) for line in found}) == 1, "the episodes are the same at every line"
    assert found[-1][1] < found[0][1], "it learned something of the next step"
    other = told(run, capsys, monkeypatch, "learners.model.lr=1e-9")
    assert [line[2:5:2] for line in other] == [line[2:5:2] for line in found], "whatever the model is"
    assert other[-1][1] == pytest.approx(other[0][1], abs=0.02), "a model that hardly moves learns nothing"


def test_batches_are_drawn_from_what_the_run_has_seen(run: Path) -> None:
    opened = refit.reopen(run)
    fitted = refit.Refit(opened, refit.prepare(str(run / refit.LOCK_FILE), []), seed=0)
    one, other = fitted.next_batch(), fitted.next_batch()
    assert one.reward.shape == fitted.shape
    arrived = torch.cat([batch.reward[~batch.is_first] for batch in (one, other)])
    assert arrived.tolist() == [1.0] * len(arrived), "each step of CartPole pays 1"
    assert not all(torch.equal(one.obs[key], other.obs[key]) for key in one.obs)
