"""Whether the model knows when an episode ends, and whether its probabilities can be taken at their word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from reverie.evaluation.world_model.applicable import NOT_FINITE, NOTHING, NotApplicable, exact, finite


@dataclass
class ReliabilityBin:
    """Predictions between `low` and `high`: their mean, and the share of steps after which the episode went on."""

    low: float
    high: float
    count: int
    predicted: float
    real: float


@dataclass
class ContinueResult:
    """The probability that an episode goes on, against whether it did.

    Args:
        brier: mean of (p - went on)^2; 0 is perfect.
        base_rate: the Brier score of always predicting the share of steps that went on.
        calibration_error: mean of |mean prediction - share| over the bins, weighted by their counts.
        ends: true ends among the targets.
        expected_ends: how many the model expected, the sum of 1 - p.
        count: steps that were judged.
        bins: the filled ones, a reliability diagram.
    """

    brier: float
    base_rate: float
    calibration_error: float
    ends: int
    expected_ends: float
    count: int
    bins: list[ReliabilityBin]


class ContinueCalibration(Metric):
    """Brier score (Brier 1950) and expected calibration error (equal-width bins) of continue probabilities.

    Args:
        bins: of the reliability diagram.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    squared: Tensor
    counts: Tensor
    predicted: Tensor
    went_on: Tensor

    def __init__(self, bins: int = 10, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("squared", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("predicted", torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("went_on", torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probability: Tensor, went_on: Tensor, valid: Tensor) -> None:
        """(N, H) probabilities to go on, whether it did (bool or 0 and 1), and where that is known (bool)."""
        chosen = valid.to(self.squared.device)
        p = exact(probability, self.squared)[chosen].clamp(0, 1)  # (M,)
        target = exact(went_on, self.squared)[chosen]  # (M,)
        bins = len(self.counts)
        index = (p.nan_to_num(0.0) * bins).long().clamp(max=bins - 1)  # (M,)
        self.squared += (p - target).square().sum()
        self.counts += torch.bincount(index, minlength=bins)
        self.predicted += torch.zeros_like(self.predicted).index_add(0, index, p)
        self.went_on += torch.zeros_like(self.went_on).index_add(0, index, target)

    def compute(self) -> ContinueResult | NotApplicable:
        """The scores so far."""
        count = int(self.counts.sum())
        if not count:
            return NotApplicable(NOTHING)
        share = float(self.went_on.sum()) / count
        ends = count - round(float(self.went_on.sum()))
        if not ends:
            return NotApplicable("no true end among the held-out steps (time limits are none)")
        brier, expected = float(self.squared) / count, count - float(self.predicted.sum())
        if not finite(brier):
            return NotApplicable(NOT_FINITE)
        error = float((self.predicted - self.went_on).abs().sum()) / count
        return ContinueResult(brier, share * (1 - share), error, ends, expected, count, self._bins())

    def _bins(self) -> list[ReliabilityBin]:
        width = 1 / len(self.counts)
        table = zip(self.counts.tolist(), self.predicted.tolist(), self.went_on.tolist(), strict=True)
        return [
            ReliabilityBin(i * width, (i + 1) * width, count, predicted / count, went_on / count)
            for i, (count, predicted, went_on) in enumerate(table)
            if count
        ]
