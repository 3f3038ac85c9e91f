"""Each metric alone, on numbers worked out by hand; and joined over batches and processes."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, tensor
from torchmetrics import Metric

from reverie.contracts import ArraySpec
from reverie.evaluation.world_model import (
    ActiveUnits,
    ClassUsage,
    ContinueCalibration,
    HorizonRow,
    LatentKL,
    NotApplicable,
    OpenLoopError,
    ReturnGap,
    RewardAccuracy,
    ValueAccuracy,
)
from reverie.evaluation.world_model.discounts import discounts_of
from reverie.evaluation.world_model.held_out import held_out, spread_starts

from .worlds import episodes

VECTOR = ArraySpec((2,), "float32")
IMAGE = ArraySpec((1, 2, 1), "uint8", 0, 255)


def fed(metric: Metric, *batches: tuple[Any, ...]) -> Any:
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def rows(errors: Any) -> list[HorizonRow]:
    return [row for row in errors.rows if isinstance(row, HorizonRow)]


# -- by hand -----------------------------------------------------------------------------------------------------


def test_open_loop_in_deviations_of_each_element() -> None:
    # Two starts, one step. Element 0: targets 1 and 3 (mean 2, variance 1), errors 1 and 0. Element 1 is constant.
    real = tensor([[[1.0, 7.0]], [[3.0, 7.0]]])
    predicted = tensor([[[2.0, 9.0]], [[3.0, 7.0]]])
    last = tensor([[0.0, 7.0], [3.0, 7.0]])  # squared errors 1 and 0
    found = fed(OpenLoopError({"x": VECTOR}, 1), ({"x": predicted}, {"x": real}, {"x": last}, torch.ones(2, 1) > 0))
    (row,) = rows(found.overall)
    assert (row.model, row.copy_last, row.mean) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5), 1.0))
    assert row.count == 2


def test_open_loop_units_of_images_are_shared_and_entries_count_alike() -> None:
    # Image: pixel 0 has targets 0 and 20 (variance 100), pixel 1 has 10 and 10 (variance 0): one unit for both.
    real = {"x": tensor([[[1.0, 1.0]], [[3.0, 3.0]]]), "y": tensor([0.0, 10.0, 20.0, 10.0]).reshape(2, 1, 1, 2, 1)}
    predicted = {"x": real["x"], "y": real["y"] + tensor([0.0, 10.0]).reshape(1, 1, 1, 2, 1)}  # 100 off at pixel 1
    last = {key: value[:, 0] for key, value in real.items()}
    found = fed(OpenLoopError({"x": VECTOR, "y": IMAGE}, 1), (predicted, real, last, torch.ones(2, 1) > 0))
    assert rows(found.entries["x"])[0].model == 0.0
    assert rows(found.entries["y"])[0].model == pytest.approx(1.0)  # sqrt(sum of squared errors / sum of variances)
    assert rows(found.entries["y"])[0].mean == pytest.approx(1.0)
    assert rows(found.overall)[0].model == pytest.approx(math.sqrt(0.5))


def test_open_loop_entries_that_never_vary() -> None:
    real = {"x": torch.randn(4, 2, 2), "y": torch.full((4, 2, 1, 2, 1), 5)}
    last = {key: value[:, 0] for key, value in real.items()}
    valid = torch.ones(4, 2) > 0
    found = fed(OpenLoopError({"x": VECTOR, "y": IMAGE}, 2), (real, real, last, valid))
    assert found.entries["y"] == NotApplicable("it never varies")
    assert rows(found.overall)[0].model == 0.0
    still = fed(OpenLoopError({"y": IMAGE}, 2), ({"y": real["y"]}, {"y": real["y"]}, {"y": last["y"]}, valid))
    assert still == NotApplicable("no entry of the observation ever varies")


def test_what_lies_behind_an_end_does_not_count() -> None:
    real, last = torch.randn(6, 3, 2), torch.randn(6, 2)
    valid = torch.arange(3) < tensor([3, 3, 2, 1, 3, 2])[:, None]
    dirty = torch.where(valid[..., None], real + 0.5, torch.nan)
    target = torch.where(valid[..., None], real, torch.nan)
    found = fed(OpenLoopError({"x": VECTOR}, 3), ({"x": dirty}, {"x": target}, {"x": last}, valid))
    assert [row.count for row in rows(found.overall)] == [6, 5, 3]
    scale = real[valid].double().var(0, unbiased=False)
    assert [row.model for row in rows(found.overall)] == pytest.approx([math.sqrt(float((0.25 / scale).mean()))] * 3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    metric = OpenLoopError({"x": VECTOR}, 2)
    real = torch.zeros(1, 3, 2)
    with pytest.raises(ValueError, match="further than 2 steps"):
        metric.update({"x": real}, {"x": real}, {"x": real[:, 0]}, torch.ones(1, 3) > 0)


def test_reward_error_bias_and_order() -> None:
    predicted, real = tensor([[1.0, 2.0], [4.0, 3.0]]), tensor([[0.0, 2.0], [2.0, 6.0]])
    found = fed(RewardAccuracy(2, span=2), (predicted, real, tensor([0.0, 1.0]), torch.ones(2, 2) > 0))
    assert [row.model for row in rows(found.errors)] == pytest.approx([math.sqrt(2.5), math.sqrt(4.5)])
    assert [row.copy_last for row in rows(found.errors)] == pytest.approx([math.sqrt(0.5), math.sqrt((4 + 25) / 2)])
    assert [row.mean for row in rows(found.errors)] == pytest.approx(  # the mean of 0, 2, 2, 6 is 2.5
        [math.sqrt((2.5**2 + 0.5**2) / 2), math.sqrt((0.5**2 + 3.5**2) / 2)]
    )
    assert found.bias == pytest.approx((1 + 0 + 2 - 3) / 4)
    expected = stats.spearmanr(predicted.flatten(), real.flatten()).statistic  # with a tie
    assert found.rank_correlation == pytest.approx(expected, abs=1e-6)


def test_only_the_span_counts_for_bias_and_order() -> None:
    predicted, real = tensor([[1.0, 90.0], [2.0, 0.0], [3.0, 0.0]]), tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    found = fed(RewardAccuracy(2, span=1), (predicted, real, torch.zeros(3), torch.ones(3, 2) > 0))
    assert (found.bias, found.rank_correlation) == pytest.approx((0.0, 1.0), abs=1e-5)
    constant = fed(RewardAccuracy(2, span=1), (predicted * 0, real, torch.zeros(3), torch.ones(3, 2) > 0))
    assert constant.rank_correlation == NotApplicable("the model predicts the same reward everywhere (0)")


def test_brier_and_calibration() -> None:
    # Bin 0.9 to 1: 0.95 and 1.0, went on and not: too sure. Bin 0.2 to 0.3: 0.25, went on: not sure enough.
    p, went_on = tensor([[0.95, 1.0, 0.25]]), tensor([[1.0, 0.0, 1.0]])
    found = fed(ContinueCalibration(), (p, went_on, torch.ones(1, 3) > 0))
    assert found.brier == pytest.approx((0.05**2 + 1 + 0.75**2) / 3)
    assert found.calibration_error == pytest.approx((2 * abs(0.975 - 0.5) + abs(0.25 - 1)) / 3)
    assert (found.ends, found.count, found.base_rate) == (1, 3, pytest.approx(2 / 9))
    assert found.expected_ends == pytest.approx(3 - 2.2)
    assert [(entry.count, entry.real) for entry in found.bins] == [(1, 1.0), (2, 0.5)]


def test_divergence_is_a_mean_over_steps_that_count() -> None:
    found = fed(LatentKL(), (tensor([1.0, 2.0, 99.0]), tensor([True, True, False])), (tensor([6.0]), tensor([True])))
    assert (found.nats, found.steps) == (3.0, 3)


def test_active_units_by_variance() -> None:
    mean = tensor([[0.0, 1.0, 0.0], [0.3, 1.0, 0.1], [9.0, 9.0, 9.0]])  # variances 0.0225, 0, 0.0025
    found = fed(ActiveUnits(3), (mean, tensor([True, True, False])))
    assert (found.active, found.units, found.threshold) == (1, 3, 0.01)
    assert found.variances == pytest.approx([0.0225, 0.0, 0.0025], abs=1e-7)
    assert fed(ActiveUnits(3, threshold=0.001), (mean[:2], torch.ones(2) > 0)).active == 2


def test_class_usage_by_mean_probability() -> None:
    # Group 0: two classes in turn, two never. Group 1: always undecided between all four.
    sure = torch.eye(4)[[0, 1, 0, 1]]
    probs = torch.stack([sure, torch.full((4, 4), 0.25)], 1)  # (4, G, K)
    found = fed(ClassUsage(2, 4), (probs, torch.ones(4) > 0))
    assert (found.dead, found.classes, found.per_group) == (2, 8, 4)
    assert found.perplexity == pytest.approx(math.sqrt(2 * 4))  # geometric mean of 2 and 4
    assert found.certainty == pytest.approx(math.sqrt(1 * 4))


def test_a_class_that_is_used_once_in_forty_steps_is_dead_and_once_in_thirty_is_not() -> None:
    for steps, dead in ((41, 1), (30, 0)):  # 1 / (10 * 4) = 1 / 40
        classes = [3, *[0, 1, 2] * 20][:steps]
        found = fed(ClassUsage(1, 4), (torch.eye(4)[classes][:, None], torch.ones(steps) > 0))
        assert found.dead == dead


def test_values_against_returns() -> None:
    found = fed(ValueAccuracy(), (tensor([1.0, 2.0, 4.0]), tensor([0.0, 3.0, 2.0]), tensor([0.0, 0.5, 0.1])))
    assert (found.error, found.bias) == pytest.approx((math.sqrt(2.0), 2 / 3))
    assert found.rank_correlation == pytest.approx(0.5, abs=1e-5)
    assert (found.value, found.real, found.borrowed, found.count) == pytest.approx((7 / 3, 5 / 3, 0.2, 3))


def test_imagined_minus_real() -> None:
    found = fed(ReturnGap(7), (tensor([3.0, 5.0]), tensor([1.0, 1.0])))
    assert (found.gap, found.std, found.imagined, found.real) == pytest.approx((3.0, 1.0, 4.0, 1.0))
    assert (found.steps, found.count) == (7, 2)


def test_a_metric_that_was_fed_nothing_says_so() -> None:
    none = torch.zeros(0)
    mask = none.bool()
    for metric, batch in (
        (LatentKL(), (none, mask)),
        (ActiveUnits(2), (torch.zeros(0, 2), mask)),
        (ClassUsage(1, 2), (torch.zeros(0, 1, 2), mask)),
        (ValueAccuracy(), (none, none, none)),
        (ReturnGap(), (none, none)),
        (ContinueCalibration(), (none[None], none[None], mask[None])),
        (RewardAccuracy(2), (torch.zeros(0, 2), torch.zeros(0, 2), none, torch.zeros(0, 2).bool())),
    ):
        assert fed(metric, batch) == NotApplicable("nothing was measured"), type(metric)


def test_predictions_that_are_not_finite_are_a_reason_and_no_number() -> None:
    nan, yes = tensor([[math.nan, 1.0]]), torch.ones(1, 2) > 0
    why = NotApplicable("the model's predictions are not finite")
    assert fed(ContinueCalibration(), (nan, tensor([[1.0, 0.0]]), yes)) == why
    assert fed(LatentKL(), (nan, yes)) == why
    assert fed(ReturnGap(), (nan[0], nan[0])) == why
    reward = fed(RewardAccuracy(2), (nan, tensor([[1.0, 0.0]]), torch.zeros(1), yes))
    assert (reward.errors.at(1), reward.bias, reward.rank_correlation) == (why, why, why)
    assert isinstance(reward.errors.at(2), HorizonRow)


# -- joined ------------------------------------------------------------------------------------------------------


def examples(seed: int, n: int) -> dict[str, tuple[Metric, tuple[Any, ...]]]:
    """Every metric with a batch of n rows."""
    g = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=g)

    valid = torch.rand(n, 4, generator=g) < 0.8
    entries = {"x": VECTOR}
    return {
        "open_loop": (OpenLoopError(entries, 4), ({"x": some(4, 2)}, {"x": some(4, 2)}, {"x": some(2)}, valid)),
        "reward": (RewardAccuracy(4, 3), (some(4), some(4), some(), valid)),
        "continue": (ContinueCalibration(), (some(4).sigmoid(), (some(4) > 0).float(), valid)),
        "kl": (LatentKL(), (some(4).square(), valid)),
        "units": (ActiveUnits(3), (some(4, 3), valid)),
        "classes": (ClassUsage(2, 5), (some(4, 2, 5).softmax(-1), valid)),
        "value": (ValueAccuracy(), (some(), some(), some().sigmoid())),
        "gap": (ReturnGap(), (some(), some())),
    }


def leaves(value: Any) -> list[Any]:
    """All numbers of a result, in order."""
    if hasattr(value, "__dataclass_fields__"):
        value = list(vars(value).values())
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf for entry in value for leaf in leaves(entry)]
    return [value]


@pytest.mark.parametrize("name", list(examples(0, 1)))
def test_batches_in_any_split_give_one_answer(name: str) -> None:
    first, second = examples(1, 5)[name], examples(2, 3)[name]
    whole = examples(1, 5)[name][0]
    expected = fed(whole, first[1], second[1])
    first[0].update(*first[1])
    second[0].update(*second[1])
    second[0].merge_state(first[0])
    assert leaves(second[0].compute()) == pytest.approx(leaves(expected), rel=1e-6)
    assert len(leaves(expected)) > 1
    whole.reset()
    assert leaves(fed(whole, second[1], first[1])) == pytest.approx(leaves(expected), rel=1e-6)


def rank(number: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    found = {name: leaves(fed(metric, batch)) for name, (metric, batch) in examples(number + 1, 5 - 2 * number).items()}
    (folder / f"{number}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    start: Callable[..., Any] = multiprocessing.get_context("fork").Process
    ranks = [start(target=rank, args=(number, tmp_path)) for number in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
        assert process.exitcode == 0
    for name, (metric, batch) in examples(1, 5).items():
        expected = leaves(fed(metric, batch, examples(2, 3)[name][1]))
        for number in range(2):
            found = json.loads((tmp_path / f"{number}.json").read_text())[name]
            assert found == pytest.approx(expected, rel=1e-6), name


# -- what feeds them ---------------------------------------------------------------------------------------------


def test_held_out_episodes_are_padded_and_say_where_they_end() -> None:
    recordings = episodes()
    held = held_out(recordings)
    assert held.valid.sum(1).tolist() == [len(recording) for recording in recordings]
    assert held.is_first.sum().item() == len(recordings)
    for index, recording in enumerate(recordings):
        rows_ = len(recording)
        assert torch.equal(held.obs["state"][index, :rows_], torch.from_numpy(recording.obs["state"]))
        assert held.cont[index, :rows_].tolist() == (~recording.is_terminal).tolist()
        assert held.cont[index, rows_:].all()


def test_starts_are_spread_from_the_context_to_the_last_row_but_one() -> None:
    recordings = [recording.head(n) for recording, n in zip(episodes(edge=math.inf), (30, 4, 2, 1, 6, 5), strict=True)]
    starts = spread_starts(held_out(recordings), context=5, most=4)
    by = {e: starts.step[starts.episode == e].tolist() for e in range(6)}
    assert by == {0: [4, 10, 17, 23], 1: [2], 2: [0], 3: [], 4: [4], 5: [3]}
    assert len(spread_starts(held_out(recordings), context=1, most=1000)) == 29 + 3 + 1 + 5 + 4


def test_episodes_of_one_length_are_entered_at_different_rows() -> None:
    """Else an error at one horizon would be that of a few moments of the task."""
    recordings = [recording.head(29) for recording in episodes(edge=math.inf)]
    starts = spread_starts(held_out(recordings), context=5, most=4)
    assert len(recordings) == 6
    assert sorted(starts.step.tolist()) == list(range(4, 28))  # each of the 24 rows once


def test_discounts_come_from_the_options_of_learners() -> None:
    plain = SimpleNamespace(discount=0.9)
    folded = SimpleNamespace(continue_discount=0.99)
    assert discounts_of([plain]) == discounts_of([plain, plain])
    assert (discounts_of([plain]).value, discounts_of([plain]).cont) == (0.9, 1.0)
    both = discounts_of([folded, SimpleNamespace(discount=1)])
    assert (both.value, both.cont) == (0.99, 0.99)
    assert discounts_of([plain, SimpleNamespace(discount=0.8)]).value is None
    assert discounts_of([object()]).value is None
    framed = SimpleNamespace(discount=0.9, discount_per="frame")
    assert discounts_of([framed], repeat=3).value == pytest.approx(0.729)
    assert discounts_of([plain], repeat=3).value == 0.9


def test_numbers_are_rooted_in_numpy() -> None:
    """The standard deviation is the population's, over all targets."""
    real = torch.randn(7, 2, 2)
    found = fed(
        OpenLoopError({"x": VECTOR}, 2), ({"x": real + 1}, {"x": real}, {"x": real[:, 0]}, torch.ones(7, 2) > 0)
    )
    expected = math.sqrt(np.mean(1 / real.reshape(-1, 2).double().numpy().var(0)))
    assert [row.model for row in rows(found.overall)] == pytest.approx([expected] * 2)
