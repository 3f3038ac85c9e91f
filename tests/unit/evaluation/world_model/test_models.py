"""Four models whose every number is known: the oracle, copy-last, action-blind, and one that inflates rewards."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from reverie.evaluation.recording import Recording
from reverie.evaluation.world_model import (
    ActiveUnitsResult,
    ContinueResult,
    HorizonRow,
    KLResult,
    NotApplicable,
    OpenLoopResult,
    ReturnGapResult,
    RewardResult,
    WorldModelReport,
    judge,
)

from .judging import judged, starts_of
from .worlds import A, C, action_blind, copy_last, episodes, inflating, model, oracle


def row(report: WorldModelReport, horizon: int) -> HorizonRow:
    assert isinstance(report.observations, OpenLoopResult)
    found = report.observations.overall.at(horizon)
    assert isinstance(found, HorizonRow)
    return found


def golden(recordings: list[Recording], predict: Any, horizon: int, longest: int = 50) -> float:
    """Root mean squared error over starts, in standard deviations of all targets of all horizons, one by one."""
    targets = np.array(
        [
            recording.obs["state"][t + h]
            for recording, t in starts_of(recordings)
            for h in range(1, longest + 1)
            if t + h < len(recording)
        ],
        np.float64,
    )
    errors = [
        predict(recording, t, horizon) - recording.obs["state"][t + horizon].astype(np.float64)
        for recording, t in starts_of(recordings)
        if t + horizon < len(recording)
    ]
    return float(np.sqrt(np.mean(np.mean(np.square(errors), 0) / targets.var(0))))


def without_actions(recording: Recording, t: int, horizon: int) -> Any:
    return np.linalg.matrix_power(A, horizon) @ recording.obs["state"][t]


def repeated(recording: Recording, t: int, horizon: int) -> Any:
    return recording.obs["state"][t].astype(np.float64)


# -- observations ------------------------------------------------------------------------------------------------


def test_the_oracle_makes_no_error_and_beats_both_baselines() -> None:
    recordings = episodes()
    report = judged(oracle(), recordings)
    for horizon in (1, 5, 15, 30):
        found = row(report, horizon)
        assert found.model < 1e-4
        assert found.useful
        assert found.copy_last == pytest.approx(golden(recordings, repeated, horizon), rel=1e-5)


def test_by_default_every_row_is_a_start_and_with_pictures_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = episodes()
    assert judge(oracle(), recordings).conditions.starts == len(starts_of(recordings)) > 16 * len(recordings)
    drawn = oracle()
    monkeypatch.setattr(type(drawn.observation), "images", property(lambda spec: ("picture",)))
    assert judge(drawn, recordings).conditions.starts <= 16 * len(recordings)


def test_of_many_long_episodes_a_part_of_the_rows_are_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = episodes()
    module = import_module("reverie.evaluation.world_model.judge")  # the package's `judge` is the function
    monkeypatch.setattr(module, "MOST_STARTS", 20 * len(recordings))
    found = judge(oracle(), recordings).conditions.starts
    assert found == sum(min(20, sum(one is recording for one, _ in starts_of(recordings))) for recording in recordings)
    assert found < len(starts_of(recordings))


def test_a_model_that_copies_is_exactly_as_good_as_copying() -> None:
    report = judged(copy_last())
    for horizon in (1, 5, 15, 30):
        found = row(report, horizon)
        assert found.model == pytest.approx(found.copy_last, rel=1e-6)
        assert found.model > 0.1
        assert not found.useful


def test_a_model_blind_to_actions_is_as_wrong_as_the_actions_matter() -> None:
    recordings = episodes()
    report = judged(action_blind(), recordings)
    for horizon in (1, 5, 15):
        expected = golden(recordings, without_actions, horizon)
        assert row(report, horizon).model == pytest.approx(expected, rel=1e-4)
        assert expected > 0.05


def test_the_mean_is_the_mean_of_all_targets() -> None:
    recordings = episodes()
    targets = np.array(
        [
            recording.obs["state"][t + h]
            for recording, t in starts_of(recordings)
            for h in range(1, 51)
            if t + h < len(recording)
        ],
        np.float64,
    )
    report = judged(copy_last(), recordings)
    for horizon in (1, 5, 15):
        expected = golden(recordings, lambda recording, t, h: targets.mean(0), horizon)
        assert row(report, horizon).mean == pytest.approx(expected, rel=1e-6)


def test_counts_are_starts_whose_episode_reaches_so_far() -> None:
    recordings = episodes()
    report = judged(oracle(), recordings)
    assert report.conditions.starts == len(starts_of(recordings))
    for horizon in (1, 5, 15):
        expected = sum(t + horizon < len(recording) for recording, t in starts_of(recordings))
        assert row(report, horizon).count == expected


def test_a_horizon_longer_than_every_episode_says_so() -> None:
    report = judged(oracle(), episodes(limit=20))
    assert isinstance(report.observations, OpenLoopResult)
    found = report.observations.overall.at(50)
    assert found == NotApplicable("longer than every held-out episode: 16 real steps at most follow a start")
    beyond = report.observations.overall.at(51)
    assert isinstance(beyond, NotApplicable)


def test_without_a_decoder_there_is_a_reason() -> None:
    agent = oracle()
    agent.decoder = None
    assert judged(agent).observations == NotApplicable("this recipe has no decoder")


# -- rewards -----------------------------------------------------------------------------------------------------


def test_rewards_of_the_oracle_and_of_an_inflating_model() -> None:
    for agent, by in ((oracle(), 0.0), (inflating(0.7), 0.7)):
        found = judged(agent).reward
        assert isinstance(found, RewardResult)
        for horizon in (1, 5, 15):
            at = found.errors.at(horizon)
            assert isinstance(at, HorizonRow)
            assert at.model == pytest.approx(by, abs=1e-5)
        assert found.bias == pytest.approx(by, abs=1e-5)
        assert found.rank_correlation == pytest.approx(1.0, abs=1e-3)
    assert row(judged(inflating()), 15).model < 1e-4


def test_rewards_of_a_copying_model() -> None:
    recordings = episodes()
    pairs = [
        (
            C @ recording.obs["state"][t].astype(np.float64),
            float(recording.reward[t + h]),
            h,
            float(recording.reward[t]),
        )
        for recording, t in starts_of(recordings)
        for h in range(1, 16)
        if t + h < len(recording)
    ]
    predicted, real = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    found = judged(copy_last(), recordings).reward
    assert isinstance(found, RewardResult)
    assert found.bias == pytest.approx((predicted - real).mean(), abs=1e-5)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(predicted, real).statistic, abs=1e-3)
    for horizon in (1, 5, 15):
        at = found.errors.at(horizon)
        assert isinstance(at, HorizonRow)
        here = [pair for pair in pairs if pair[2] == horizon]
        assert at.model == pytest.approx(np.sqrt(np.mean([(p - r) ** 2 for p, r, _, _ in here])), rel=1e-5)
        assert at.copy_last == pytest.approx(np.sqrt(np.mean([(last - r) ** 2 for _, r, _, last in here])), rel=1e-5)


def test_a_reward_that_never_varies_has_no_order() -> None:
    recordings = [Recording(r.obs, r.action, np.ones_like(r.reward), r.is_terminal, r.seed) for r in episodes()]
    found = judged(oracle(), recordings).reward
    assert isinstance(found, RewardResult)
    assert found.rank_correlation == NotApplicable("the real reward is the same everywhere (1)")


def test_heads_that_are_missing_are_named() -> None:
    agent = oracle()
    agent.heads = torch.nn.ModuleDict()
    report = judged(agent, discount=0.9)
    assert report.reward == NotApplicable("this recipe has no reward head")
    assert report.cont == NotApplicable("this recipe has no continue head")
    assert report.value == NotApplicable("this recipe has no value head")
    assert report.policy == NotApplicable("this recipe has no reward head")


# -- ends --------------------------------------------------------------------------------------------------------


def test_ends_that_are_foreseen_exactly() -> None:
    recordings = episodes()
    found = judged(oracle(), recordings).cont
    assert isinstance(found, ContinueResult)
    expected = sum(bool(r.is_terminal[t + 1 : t + 16].any()) for r, t in starts_of(recordings))
    assert expected > 10
    assert (found.brier, found.calibration_error, found.ends) == (0.0, 0.0, expected)
    assert found.expected_ends == pytest.approx(expected)


def test_ends_of_a_model_that_always_doubts() -> None:
    recordings = episodes()
    target = np.concatenate([~r.is_terminal[t + 1 : t + 16] for r, t in starts_of(recordings)]).astype(float)
    found = judged(model(inside=0.8, outside=0.8), recordings).cont
    assert isinstance(found, ContinueResult)
    assert found.brier == pytest.approx(np.mean((0.8 - target) ** 2), rel=1e-6)
    assert found.calibration_error == pytest.approx(abs(0.8 - target.mean()), rel=1e-5)
    assert found.base_rate == pytest.approx(target.var(), rel=1e-9)
    assert found.count == len(target)
    assert [entry.count for entry in found.bins] == [len(target)]


def test_a_discount_folded_into_the_target_is_taken_out_again() -> None:
    found = judged(model(inside=0.9, outside=0.0), continue_discount=0.9).cont
    assert isinstance(found, ContinueResult)
    assert found.brier == pytest.approx(0.0, abs=1e-12)


def test_no_true_end_no_score() -> None:
    found = judged(oracle(), episodes(edge=float("inf"))).cont
    assert found == NotApplicable("no true end among the held-out steps (time limits are none)")


# -- latents -----------------------------------------------------------------------------------------------------


def test_divergence_before_any_floor() -> None:
    recordings = episodes()
    assert isinstance(nothing := judged(oracle(), recordings).kl, KLResult)
    assert nothing.nats == pytest.approx(0.0, abs=1e-6)
    moves = np.concatenate([np.diff(r.obs["state"].astype(np.float64), axis=0) for r in recordings])
    assert isinstance(copied := judged(copy_last(), recordings).kl, KLResult)
    assert copied.nats == pytest.approx(np.mean((moves**2).sum(1) / (2 * 0.1**2)), rel=1e-4)  # equal deviations
    assert copied.steps == len(moves)


def test_active_units_are_those_that_vary() -> None:
    recordings = episodes()
    rows = np.concatenate([r.obs["state"].astype(np.float64) for r in recordings])
    found = judged(oracle(), recordings).latents
    assert isinstance(found, ActiveUnitsResult)
    assert (found.active, found.units) == (2, 2)
    assert found.variances == pytest.approx(rows.var(0).tolist(), rel=1e-5)


# -- the whole ---------------------------------------------------------------------------------------------------


def test_nothing_that_is_not_finite_becomes_a_number() -> None:
    report = judged(model(transition=A * float("nan"), value=(float("nan"), 0.0)), discount=0.9)
    why = NotApplicable("the model's predictions are not finite")
    assert isinstance(report.observations, OpenLoopResult)
    assert report.observations.overall.at(5) == why
    assert report.value == why
    assert report.policy == why
    assert not [name for name, value in report.numbers().items() if not np.isfinite(value)]


def test_generators_stay_as_they_were_and_draws_repeat() -> None:
    agent = action_blind()
    agent.train()
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    first, second = (judged(agent, mode="sample", seed=3) for _ in range(2))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert agent.training
    assert all(parameter.grad is None for parameter in agent.parameters())
    assert first.as_json() == second.as_json()
    assert first.as_json() != judged(agent, mode="sample", seed=4).as_json()


def test_short_and_long_episodes_do_not_meet_in_one_batch() -> None:
    """What is said of two episodes together is the mean of what is said of each (their returns and counts)."""
    recordings = episodes()
    together = judged(action_blind(), recordings).policy
    alone = [judged(action_blind(), [recording]).policy for recording in recordings]
    parts = [found for found in alone if isinstance(found, ReturnGapResult)]
    assert isinstance(together, ReturnGapResult)
    assert len({len(recording) for recording in recordings}) > 2
    total = sum(found.count for found in parts)
    assert together.count == total
    assert together.gap == pytest.approx(sum(found.gap * found.count for found in parts) / total, rel=1e-4)


@pytest.mark.parametrize("broken", [{"horizon": 0}, {"span": 0}, {"context": 0}])
def test_numbers_below_one_are_refused(broken: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        judge(oracle(), episodes(), **broken)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one held-out episode"):
        judge(oracle(), [])
