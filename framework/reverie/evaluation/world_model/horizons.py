"""Errors of open-loop predictions, one sum per horizon and element, beside those of two predictors without a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from reverie.evaluation.world_model.applicable import NOT_FINITE, NotApplicable, exact, finite


@dataclass
class HorizonRow:
    """Root mean squared errors h steps after the last real observation.

    Args:
        model: of the world model.
        copy_last: of repeating what was seen last.
        mean: of always predicting the mean of the held-out targets.
        count: predictions that this is the mean of.
    """

    horizon: int
    model: float
    copy_last: float
    mean: float
    count: int

    @property
    def useful(self) -> bool:
        """Whether the model beats both, by more than rounding."""
        return not self.unbeaten

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """The baselines that the model does not beat by more than rounding."""
        baselines = {"copy-last": self.copy_last, "the mean": self.mean}
        return tuple(name for name, error in baselines.items() if not self.model < (1 - 1e-6) * error)


@dataclass
class HorizonErrors:
    """One row for each horizon 1..H, or the reason why there is none.

    Args:
        rows: `rows[h - 1]` is horizon h.
    """

    rows: list[HorizonRow | NotApplicable]

    def at(self, horizon: int) -> HorizonRow | NotApplicable:
        """The row of one horizon."""
        if not 1 <= horizon <= len(self.rows):
            return NotApplicable(f"only horizons 1 to {len(self.rows)} are measured")
        return self.rows[horizon - 1]


@dataclass(frozen=True)
class MeanSquares:
    """Mean squared errors (H, E) of the three predictors, `variance` (E,) of the targets, and `count` (H,)."""

    model: Tensor
    copy_last: Tensor
    mean: Tensor
    variance: Tensor
    center: Tensor
    count: Tensor

    @property
    def varies(self) -> Tensor:
        """(E,): elements that are not constant. An error in units of their deviation means something."""
        return self.variance > 1e-12 * (1.0 + self.center.square())

    def rows(self, scale: Tensor) -> HorizonErrors:
        """Root means over elements of errors times `scale` (E,)."""
        columns = [(value * scale).mean(1).sqrt().tolist() for value in (self.model, self.copy_last, self.mean)]
        return HorizonErrors([self._row(h, *errors) for h, errors in enumerate(zip(*columns, strict=True))])

    def _row(self, index: int, model: float, copy_last: float, mean: float) -> HorizonRow | NotApplicable:
        count = int(self.count[index])
        if not count:
            longest = int((self.count > 0).sum())
            return NotApplicable(f"longer than every held-out episode: {_steps(longest)} at most follow a start")
        if not finite(model):
            return NotApplicable(NOT_FINITE)
        return HorizonRow(index + 1, model, copy_last, mean, count)


def _steps(count: int) -> str:
    return "1 real step" if count == 1 else f"{count} real steps"


class HorizonMetric(Metric):
    """Base of metrics over horizons. Its states are plain sums, so that ranks and batches may be joined in any order.

    Args:
        horizon: the longest, H.
        size: elements of a prediction, E.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    error: Tensor
    copied: Tensor
    total: Tensor
    square: Tensor
    count: Tensor

    def __init__(self, horizon: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.horizon = horizon
        for name in ("error", "copied", "total", "square"):
            self.add_state(name, torch.zeros(horizon, size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(horizon, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, predicted: Tensor, real: Tensor, last: Tensor, valid: Tensor) -> None:
        """(N, H', E) predictions and targets, H' <= H, (N, E) last seen, (N, H') where there is a target."""
        if predicted.shape != real.shape or valid.shape != real.shape[:2] or real.shape[1] > self.horizon:
            raise ValueError(
                f"predictions {tuple(predicted.shape)}, targets {tuple(real.shape)} and valid {tuple(valid.shape)} "
                f"do not fit together, or reach further than {self.horizon} steps"
            )
        mask = valid.to(self.count.device)[..., None]  # (N, H', 1)
        steps, target = real.shape[1], exact(real, self.error)

        def masked(value: Tensor) -> Tensor:  # (N, H', E) -> (H', E); `where`, for 0 * nan is nan
            return torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device)).sum(0)

        self.error[:steps] += masked((exact(predicted, self.error) - target).square())
        self.copied[:steps] += masked((exact(last, self.error)[:, None] - target).square())
        self.total[:steps] += masked(target)
        self.square[:steps] += masked(target.square())
        self.count[:steps] += mask[..., 0].sum(0)

    def mean_squares(self) -> MeanSquares | None:
        """None if nothing was measured."""
        rows = int(self.count.sum())
        if not rows:
            return None
        count = self.count[:, None].double()  # (H, 1); 0 / 0 is not-a-number, which no row shows
        center = self.total.sum(0) / rows  # (E,)
        variance = (self.square.sum(0) / rows - center.square()).clamp_min(0)  # (E,)
        about = (self.square - 2 * center * self.total) / count + center.square()  # (H, E)
        return MeanSquares(self.error / count, self.copied / count, about.clamp_min(0), variance, center, self.count)
