"""Every metric on each of the four models, beside one loop in float64 that knows nothing of how they are computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reverie.evaluation.recording import Recording
from reverie.evaluation.world_model import (
    ActiveUnitsResult,
    ContinueResult,
    HorizonRow,
    KLResult,
    OpenLoopResult,
    ReturnGapResult,
    RewardResult,
    WorldModelReport,
    judge,
)

from .worlds import EDGE, A, B, C, K, action_blind, copy_last, episodes, inflating, oracle

CONTEXT, SPAN, DEVIATION = 5, 15, 0.1


@dataclass(frozen=True)
class Known:
    """What a model believes: x' = transition x + control a, and its reward is `promise` too large."""

    transition: Any
    control: Any
    promise: float = 0.0

    def after(self, x: Any, action: Any) -> Any:
        return self.transition @ x + self.control @ action

    def reward(self, x: Any) -> float:
        return float(C @ x) + self.promise


NOTHING = np.zeros((2, 1))
FOUR = {
    "oracle": (oracle, Known(A, B)),
    "copy_last": (copy_last, Known(np.eye(2), NOTHING)),
    "action_blind": (action_blind, Known(A, NOTHING)),
    "inflating": (inflating, Known(A, B, 0.7)),
}


@dataclass(frozen=True)
class Step:
    """One imagined step beside the real one."""

    horizon: int
    x: Any
    seen: Any
    promised: float
    earned: float
    believed: float  # to go on
    went_on: float


def starts(recording: Recording) -> range:
    return range(min(CONTEXT - 1, len(recording) - 2), len(recording) - 1)


def steps(known: Known, recordings: list[Recording]) -> Iterator[Step]:
    """From every start, along the real actions, as far as the episode goes."""
    for recording in recordings:
        seen, action = (np.asarray(a, np.float64) for a in (recording.obs["state"], recording.action))
        for t in starts(recording):
            x = seen[t]
            for h in range(1, min(SPAN, len(recording) - 1 - t) + 1):
                x = known.after(x, action[t + h])
                yield Step(
                    h,
                    x,
                    seen[t + h],
                    known.reward(x),
                    float(recording.reward[t + h]),
                    float(x[0] <= EDGE),
                    float(not recording.is_terminal[t + h]),
                )


@pytest.fixture(params=FOUR)
def pair(request: pytest.FixtureRequest) -> tuple[Known, WorldModelReport]:
    build, known = FOUR[request.param]
    return known, judge(build(), episodes(), starts=1000, policy_starts=1000, context=CONTEXT)


Pair = tuple[Known, WorldModelReport]


def root(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_observations(pair: Pair) -> None:
    known, report = pair
    assert isinstance(report.observations, OpenLoopResult)
    variance, all_steps = targets().var(0), list(steps(known, episodes()))
    for h in (1, 5, 15):
        gaps = np.array([s.x - s.seen for s in all_steps if s.horizon == h])
        row = report.observations.overall.at(h)
        assert isinstance(row, HorizonRow)
        assert row.count == len(gaps)
        assert row.model == pytest.approx(np.sqrt((np.square(gaps) / variance).mean()), rel=1e-4, abs=1e-4)


def targets() -> Any:
    """All rows that a start can be asked for, up to 50 steps ahead."""
    return np.array([r.obs["state"][u] for r in episodes() for t in starts(r) for u in range(t + 1, len(r))], float)


def test_rewards(pair: Pair) -> None:
    known, report = pair
    found, all_steps = report.reward, list(steps(known, episodes()))
    assert isinstance(found, RewardResult)
    gaps = [s.promised - s.earned for s in all_steps]
    order = stats.spearmanr([s.promised for s in all_steps], [s.earned for s in all_steps]).statistic
    assert found.bias == pytest.approx(np.mean(gaps), abs=1e-5)
    assert found.rank_correlation == pytest.approx(order, abs=1e-3)
    for h in (1, 5, 15):
        row = found.errors.at(h)
        assert isinstance(row, HorizonRow)
        assert row.model == pytest.approx(root([s.promised - s.earned for s in all_steps if s.horizon == h]), abs=1e-5)


def test_continues(pair: Pair) -> None:
    known, report = pair
    found, all_steps = report.cont, list(steps(known, episodes()))
    assert isinstance(found, ContinueResult)
    gaps = [s.believed - s.went_on for s in all_steps]
    assert found.brier == pytest.approx(np.mean(np.square(gaps)), abs=1e-9)
    calibration = 0.0  # beliefs are 0 or 1: two bins, each weighed by how many fell into it
    for belief in (0.0, 1.0):
        mine = [s.went_on for s in all_steps if s.believed == belief]
        calibration += len(mine) / len(all_steps) * abs(belief - np.mean(mine)) if mine else 0.0
    assert found.calibration_error == pytest.approx(calibration, abs=1e-6)
    assert found.count == len(all_steps)


def test_divergence(pair: Pair) -> None:
    """Posterior and prior are normals of one deviation around what is seen and what was expected."""
    known, report = pair
    assert isinstance(report.kl, KLResult)
    nats = []
    for recording in episodes():
        seen, action = recording.obs["state"].astype(float), recording.action.astype(float)
        for t in range(1, len(recording)):
            surprise = seen[t] - known.after(seen[t - 1], action[t])
            nats.append(surprise @ surprise / (2 * DEVIATION**2))
    assert report.kl.nats == pytest.approx(np.mean(nats), rel=1e-4, abs=1e-6)


def test_what_is_filtered_does_not_know_of_the_fault(pair: Pair) -> None:
    """All four see the same, and their faults lie in what they expect: latents in use are equal."""
    _, report = pair
    rows = np.concatenate([r.obs["state"].astype(float) for r in episodes()])
    assert isinstance(report.latents, ActiveUnitsResult)
    assert report.latents.variances == pytest.approx(rows.var(0).tolist(), rel=1e-5)


def test_what_the_policy_is_promised(pair: Pair) -> None:
    known, report = pair
    gaps = []
    for recording in episodes():
        seen = recording.obs["state"].astype(float)
        for t in starts(recording):
            if t + SPAN >= len(recording) and not recording.is_terminal[-1]:
                continue  # cut off before its span: nobody knows what it would have earned
            x, promised, alive = seen[t], 0.0, 1.0
            for _ in range(SPAN):
                x = known.after(x, np.tanh(K @ x))
                promised += alive * known.reward(x)
                alive *= float(x[0] <= EDGE)
            gaps.append(promised - float(recording.reward[t + 1 : t + 1 + SPAN].sum()))
    assert isinstance(report.policy, ReturnGapResult)
    assert report.policy.count == len(gaps)
    assert report.policy.gap == pytest.approx(np.mean(gaps), rel=1e-3, abs=1e-3)
    assert report.policy.std == pytest.approx(np.std(gaps), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "unbeaten"),
    [
        (0.1, ()),
        (0.2, ("copy-last",)),  # as good as copying
        (0.3, ("copy-last",)),
        (0.5, ("copy-last", "the mean")),
        (float("nan"), ("copy-last", "the mean")),
    ],
)
def test_a_baseline_that_is_not_beaten_is_named(model: float, unbeaten: tuple[str, ...]) -> None:
    row = HorizonRow(5, model, copy_last=0.2, mean=0.4, count=9)
    assert row.unbeaten == unbeaten
    assert row.useful == (not unbeaten)
