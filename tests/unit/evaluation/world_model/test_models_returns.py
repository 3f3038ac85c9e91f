"""What is said of values, and of the policy in imagination, where the true returns are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from reverie.assembly.build import NobodyActs
from reverie.evaluation.recording import Recording
from reverie.evaluation.world_model import (
    NotApplicable,
    ReturnGapResult,
    ValueResult,
    judge,
)
from reverie.evaluation.world_model.judge import _spread

from .judging import CONTEXT, judged, starts_of
from .worlds import EDGE, A, B, C, K, action_blind, episodes, inflating, model, oracle

DISCOUNT = 0.9


def linear_value() -> Any:
    """v with v . x the return of playing nothing: v = A^T (c + discount v)."""
    return np.linalg.solve(np.eye(2) - DISCOUNT * A.T, A.T @ C)


def drifting(limit: int = 40, *, ends: bool = False) -> list[Recording]:
    """Episodes without actions; ended by a limit, or all by a true end at the last row."""
    found = []
    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=2)
        states = [x]
        for _ in range(limit):
            states.append(A @ states[-1])
        rewards = [0.0, *(float(C @ state) for state in states[1:])]
        terminal = np.zeros(limit + 1, bool)
        terminal[-1] = ends
        action = np.zeros((limit + 1, 1), np.float32)
        obs = {"state": np.array(states, np.float32)}
        found.append(Recording(obs, action, np.array(rewards, np.float32), terminal, seed))
    return found


def test_the_true_value_meets_the_real_return_across_a_time_limit() -> None:
    found = judged(model(value=linear_value()), drifting(), discount=DISCOUNT).value
    assert isinstance(found, ValueResult)
    assert found.error < 1e-4
    assert found.rank_correlation == pytest.approx(1.0, abs=1e-4)
    weights = [DISCOUNT ** (40 - t) for t in range(CONTEXT - 1, 40)]
    assert found.borrowed == pytest.approx(np.mean([w for w in weights if w <= 0.9]), rel=1e-5)


def test_values_against_returns_of_episodes_that_truly_end() -> None:
    recordings = drifting(ends=True)
    value = [
        (linear_value() @ r.obs["state"][t].astype(np.float64) + 2.0)
        for r in recordings
        for t in range(CONTEXT - 1, 40)
    ]
    real = [
        sum(DISCOUNT**k * float(reward) for k, reward in enumerate(r.reward[t + 1 :]))
        for r in recordings
        for t in range(CONTEXT - 1, 40)
    ]
    gap = np.array(value) - np.array(real)
    found = judged(model(value=linear_value(), value_bias=2.0), recordings, discount=DISCOUNT).value
    assert isinstance(found, ValueResult)
    assert found.bias == pytest.approx(gap.mean(), rel=1e-4)
    assert found.error == pytest.approx(np.sqrt((gap**2).mean()), rel=1e-4)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(value, real).statistic, abs=1e-3)
    assert found.borrowed == 0.0


def test_values_need_a_discount_and_returns_of_their_own() -> None:
    assert judged(oracle()).value == NotApplicable("the learners of this recipe name no discount, or several")
    short = judged(oracle(), drifting(limit=8), discount=0.999).value
    assert isinstance(short, NotApplicable)
    assert "time limits" in short.why


def played(recording: Recording, t: int, steps: int) -> float:
    return float(recording.reward[t + 1 : t + 1 + steps].sum())


@pytest.mark.parametrize("by", [0.0, 0.7])
def test_an_inflating_model_promises_more_than_the_policy_earns(by: float) -> None:
    recordings = episodes()
    whole = [(r, t) for r, t in starts_of(recordings) if t + 15 < len(r) or bool(r.is_terminal[-1])]
    lengths = [min(15, len(r) - 1 - t) for r, t in whole]
    found = judged(inflating(by) if by else oracle(), recordings).policy
    assert isinstance(found, ReturnGapResult)
    assert found.gap == pytest.approx(by * np.mean(lengths), abs=1e-3)
    assert found.real == pytest.approx(np.mean([played(r, t, 15) for r, t in whole]), rel=1e-5)
    assert found.count == len(whole)


def test_a_folded_discount_does_not_hide_what_the_policy_is_promised() -> None:
    """A true model whose continue target has a discount in it imagines what really follows, undiscounted."""
    folded = judged(model(inside=0.9, outside=0.0), continue_discount=0.9).policy
    assert isinstance(folded, ReturnGapResult)
    assert folded.gap == pytest.approx(0.0, abs=1e-5)
    assert abs(folded.real) > 1


def test_without_a_continue_head_there_is_nothing_to_take_out() -> None:
    agent, recordings = oracle(), episodes(edge=float("inf"))
    plain = judged(agent, recordings).policy
    del agent.heads["continue"]
    assert judged(agent, recordings, continue_discount=0.9).policy == judged(agent, recordings).policy
    assert isinstance(plain, ReturnGapResult)


def test_the_policy_is_met_at_all_moments_of_the_task() -> None:
    """Five starts of ten episodes of one length, taken at a fixed distance, would be the same row of each other one."""
    rows = _spread(10 * 40, 20) % 40
    assert len(set(rows.tolist())) > 10
    assert _spread(7, 20).tolist() == list(range(7))
    assert _spread(0, 20).tolist() == []
    assert judge(oracle(), episodes(), policy_starts=9).policy.count == 9


def test_a_blind_model_is_wrong_about_the_policy_too() -> None:
    recordings = episodes(edge=float("inf"))
    gaps = []
    for r, t in starts_of(recordings):
        if t + 15 >= len(r):
            continue
        x, total, alive = r.obs["state"][t].astype(np.float64), 0.0, 1.0
        for _ in range(15):
            x = A @ x
            total += alive * float(C @ x)
            alive *= float(x[0] <= EDGE)  # the model still believes in the edge
        gaps.append(total - played(r, t, 15))
    found = judged(action_blind(), recordings).policy
    assert isinstance(found, ReturnGapResult)
    assert found.gap == pytest.approx(np.mean(gaps), rel=1e-3)
    assert found.std == pytest.approx(np.std(gaps), rel=1e-3)
    assert abs(K).sum() > 0
    assert abs(B).sum() > 0


def test_on_anothers_episodes_nothing_is_said_of_values_and_policy() -> None:
    found = judged(model(value=linear_value()), drifting(), discount=DISCOUNT, own=False)
    assert found.value == found.policy == NotApplicable("another policy played these episodes")


def test_where_nobody_acts_there_is_no_policy_to_imagine() -> None:
    agent = oracle()
    del agent.planner
    agent.planner = NobodyActs()
    assert judged(agent).policy == NotApplicable("this recipe has neither a planner nor an actor")


def test_no_episode_is_long_enough() -> None:
    found = judged(oracle(), episodes(limit=10, edge=float("inf"))).policy
    assert found == NotApplicable("no held-out episode goes on for 15 steps")
