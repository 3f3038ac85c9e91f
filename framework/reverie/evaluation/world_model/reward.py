"""Whether imagined rewards are right, and whether they at least put outcomes in the right order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from reverie.evaluation.world_model.applicable import (
    NOT_FINITE,
    NOTHING,
    NotApplicable,
    exact,
    finite,
    rank_correlation,
    reduced,
)
from reverie.evaluation.world_model.horizons import HorizonErrors, HorizonMetric


@dataclass
class RewardResult:
    """Rewards along open-loop rollouts.

    Args:
        errors: root mean squared errors by horizon, in the environment's units of reward per agent step.
        bias: mean of imagined minus real, over the first `span` steps: above 0, the model dreams of too much.
        rank_correlation: Spearman's, over the same steps.
        span: how many steps bias and correlation look ahead.
    """

    errors: HorizonErrors
    bias: float | NotApplicable
    rank_correlation: float | NotApplicable
    span: int


class RewardAccuracy(HorizonMetric):
    """Error, bias and rank correlation of imagined rewards.

    Args:
        horizon: the longest, in agent steps.
        span: steps ahead that count for bias and correlation.
    """

    predicted: list[Tensor]
    real: list[Tensor]

    def __init__(self, horizon: int = 50, span: int = 15, **options: Any) -> None:
        super().__init__(horizon, 1, **options)
        self.span = span
        self.add_state("predicted", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, real: Tensor, last: Tensor, valid: Tensor) -> None:
        """(N, H) imagined and real rewards on arrival, (N,) the last real one, (N, H) where there is a real one."""
        self.add(predicted[..., None], real[..., None], last[..., None], valid)
        near = valid[:, : self.span]
        self.predicted.append(exact(predicted[:, : self.span][near], self.error))
        self.real.append(exact(real[:, : self.span][near], self.error))

    def compute(self) -> RewardResult | NotApplicable:
        """The errors so far."""
        found = self.mean_squares()
        predicted, real = reduced(self.predicted), reduced(self.real)  # (M,)
        if found is None or not len(real):
            return NotApplicable(NOTHING)
        bias = float((predicted - real).mean())
        return RewardResult(
            errors=found.rows(found.variance.new_ones(1)),
            bias=bias if finite(bias) else NotApplicable(NOT_FINITE),
            rank_correlation=rank_correlation(predicted, real, what="reward"),
            span=self.span,
        )
