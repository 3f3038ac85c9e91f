"""Whether what the agent expects to earn is what it earns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from reverie.evaluation.world_model.applicable import (
    NOT_FINITE,
    NOTHING,
    NotApplicable,
    exact,
    finite,
    rank_correlation,
    reduced,
)


@dataclass
class ValueResult:
    """Values of real states against the discounted returns that followed them.

    Args:
        error: root mean squared difference.
        bias: mean of value minus return; above 0, the critic is optimistic.
        rank_correlation: Spearman's.
        value, real: their means.
        borrowed: mean share of the return that is not real but the value of the last state before a time limit.
        count: states.
    """

    error: float
    bias: float
    rank_correlation: float | NotApplicable
    value: float
    real: float
    borrowed: float
    count: int


class ValueAccuracy(Metric):
    """Value of filtered states against the real discounted return from there on."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    value: list[Tensor]
    real: list[Tensor]
    borrowed: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("value", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("borrowed", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, value: Tensor, real: Tensor, borrowed: Tensor) -> None:
        """(N,) values, (N,) returns, and (N,) the weight in each return of a value in place of what was cut off."""
        self.value.append(exact(value, self.borrowed))
        self.real.append(exact(real, self.borrowed))
        self.borrowed += exact(borrowed, self.borrowed).sum()

    def compute(self) -> ValueResult | NotApplicable:
        """The comparison so far."""
        value, real = reduced(self.value), reduced(self.real)  # (M,)
        if not len(real):
            return NotApplicable(NOTHING)
        gap = value - real
        error, bias = float(gap.square().mean().sqrt()), float(gap.mean())
        if not finite(error, bias):
            return NotApplicable(NOT_FINITE)
        return ValueResult(
            error=error,
            bias=bias,
            rank_correlation=rank_correlation(value, real, what="return"),
            value=float(value.mean()),
            real=float(real.mean()),
            borrowed=float(self.borrowed) / len(real),
            count=len(real),
        )


@dataclass
class ReturnGapResult:
    """What the policy earns in imagination against what it really earned from the same states.

    Args:
        gap: mean of imagined minus real; above 0, the policy exploits mistakes of the model.
        std: standard deviation of the gap over the starts.
        imagined, real: mean sums of rewards over `steps` steps, not discounted.
        count: starts.
    """

    gap: float
    std: float
    imagined: float
    real: float
    steps: int
    count: int


class ReturnGap(Metric):
    """Imagined minus real return of the policy, over a fixed number of steps.

    Args:
        steps: that each return is the sum of.
    """

    is_differentiable = False
    full_state_update = False

    imagined: Tensor
    real: Tensor
    square: Tensor
    count: Tensor

    def __init__(self, steps: int = 15, **options: Any) -> None:
        super().__init__(**options)
        self.steps = steps
        for name in ("imagined", "real", "square"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, imagined: Tensor, real: Tensor) -> None:
        """(N,) returns in imagination, and (N,) real ones from the same starts over as many steps."""
        expected, earned = exact(imagined, self.imagined), exact(real, self.imagined)
        self.imagined += expected.sum()
        self.real += earned.sum()
        self.square += (expected - earned).square().sum()
        self.count += len(earned)

    def compute(self) -> ReturnGapResult | NotApplicable:
        """The gap so far."""
        count = int(self.count)
        if not count:
            return NotApplicable(NOTHING)
        imagined, real = float(self.imagined) / count, float(self.real) / count
        gap = imagined - real
        if not finite(gap):
            return NotApplicable(NOT_FINITE)
        spread = max(0.0, float(self.square) / count - gap**2) ** 0.5
        return ReturnGapResult(gap, spread, imagined, real, self.steps, count)
