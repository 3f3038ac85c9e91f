"""What the stochastic part of a latent state carries, and how much of it was foreseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from reverie.evaluation.world_model.applicable import NOT_FINITE, NOTHING, NotApplicable, exact, finite


@dataclass
class KLResult:
    """Mean KL(posterior || prior) per step.

    Args:
        nats: summed over latents, before any free nats.
        steps: that this is the mean of.
    """

    nats: float
    steps: int


class LatentKL(Metric):
    """What an observation tells that the prior did not know, in nats per step."""

    is_differentiable = False
    full_state_update = False

    total: Tensor
    steps: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("steps", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, kl: Tensor, valid: Tensor) -> None:
        """(*B) divergences, and (*B) which of them count."""
        self.total += exact(kl[valid], self.total).sum()
        self.steps += valid.sum().to(self.steps.device)

    def compute(self) -> KLResult | NotApplicable:
        """The mean so far."""
        if not int(self.steps):
            return NotApplicable(NOTHING)
        nats = float(self.total) / int(self.steps)
        return KLResult(nats, int(self.steps)) if finite(nats) else NotApplicable(NOT_FINITE)


@dataclass
class ActiveUnitsResult:
    """Gaussian latents that say something.

    Args:
        active: units whose posterior mean varies by more than `threshold` (a variance) over the held-out steps.
        units: all of them.
        variances: of the posterior means, one per unit.
    """

    active: int
    units: int
    threshold: float
    variances: list[float]


class ActiveUnits(Metric):
    """Active units of Burda et al. (2016): the variance over data of the posterior's mean, per unit.

    Args:
        units: Gaussian numbers in the latent state.
        threshold: a unit is active above this variance.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, units: int, threshold: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        self.threshold = threshold
        self.add_state("total", torch.zeros(units, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("square", torch.zeros(units, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("steps", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean: Tensor, valid: Tensor) -> None:
        """(*B, units) posterior means, and (*B) which of them count."""
        chosen = exact(mean[valid], self.total)  # (M, units)
        self.total += chosen.sum(0)
        self.square += chosen.square().sum(0)
        self.steps += len(chosen)

    def compute(self) -> ActiveUnitsResult | NotApplicable:
        """The count so far."""
        steps = int(self.steps)
        if not steps:
            return NotApplicable(NOTHING)
        variance = (self.square / steps - (self.total / steps).square()).clamp_min(0)  # (units,)
        if not bool(torch.isfinite(variance).all()):
            return NotApplicable(NOT_FINITE)
        active = int((variance > self.threshold).sum())
        return ActiveUnitsResult(active, len(variance), self.threshold, variance.tolist())


@dataclass
class ClassUsageResult:
    """Classes of categorical latents that are used.

    Args:
        dead: classes whose mean posterior probability is under a tenth of an even share, 1 / (10 K).
        classes: all of them, G * K.
        perplexity: exp of the entropy of the mean posterior, averaged (geometrically) over the G groups: how many of
            the K classes are in use over the data. From 1 to K.
        certainty: the same of each single posterior: how many classes one step leaves open. Where it equals
            `perplexity`, the latent says nothing about the step.
        per_group: K.
    """

    dead: int
    classes: int
    perplexity: float
    certainty: float
    per_group: int


class ClassUsage(Metric):
    """Dead classes and perplexity of G categoricals of K classes, from posterior probabilities.

    Args:
        groups: G.
        classes: K.
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor
    entropy: Tensor
    steps: Tensor

    def __init__(self, groups: int, classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros(groups, classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("entropy", torch.zeros(groups, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("steps", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probs: Tensor, valid: Tensor) -> None:
        """(*B, G, K) posterior probabilities, and (*B) which of them count."""
        chosen = exact(probs[valid], self.total)  # (M, G, K)
        self.total += chosen.sum(0)
        self.entropy += _entropy(chosen).sum(0)
        self.steps += len(chosen)

    def compute(self) -> ClassUsageResult | NotApplicable:
        """The usage so far."""
        steps = int(self.steps)
        if not steps:
            return NotApplicable(NOTHING)
        mean = self.total / steps  # (G, K)
        if not bool(torch.isfinite(mean).all()):
            return NotApplicable(NOT_FINITE)
        classes = mean.shape[1]
        return ClassUsageResult(
            dead=int((mean < 0.1 / classes).sum()),
            classes=mean.numel(),
            perplexity=float(_entropy(mean).mean().exp()),
            certainty=float((self.entropy / steps).mean().exp()),
            per_group=classes,
        )


def _entropy(probs: Tensor) -> Tensor:
    """(*B, K) -> (*B), in nats; 0 log 0 is 0."""
    terms: Tensor = torch.special.xlogy(probs, probs)
    return -terms.sum(-1)
