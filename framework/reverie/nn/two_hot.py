"""Two-hot regression: a number as a distribution over bins (DreamerV3, section 3; note 12)."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts.sampling import Sampling
from reverie.nn.symlog import symexp, symlog

Variant = Literal["symlog_linear", "symexp_spaced"]


def make_bins(variant: Variant, count: int, low: float, high: float) -> Tensor:
    """(count,) bin positions: evenly spaced in symlog space, where `symlog_linear` also keeps them, while
    `symexp_spaced` has them as plain numbers, exactly antisymmetric around 0.

    Raises:
        ValueError: for fewer than two bins, low >= high, or (symexp_spaced) bounds or a count that are not symmetric.
    """
    if count < 2 or low >= high:
        raise ValueError(f"two-hot bins need count >= 2 and low < high, got {count} in [{low}, {high}]")
    if variant == "symlog_linear":
        return torch.linspace(low, high, count)
    if low != -high or count % 2 == 0:
        raise ValueError(f"symexp_spaced bins need low = -high and an odd count, got {count} in [{low}, {high}]")
    half = symexp(torch.linspace(low, 0, count // 2 + 1, dtype=torch.float64))  # (count // 2 + 1,)
    return torch.cat((half, -half[:-1].flip(0))).float()  # (count,)


class TwoHot:
    """A number given by logits over bins; its training target splits one unit of mass between two neighbouring bins.

    `symlog_linear` (2023, TD-MPC2): the target is two-hot of symlog(x), the prediction symexp(sum p b).
    `symexp_spaced` (current code): the target is two-hot of x itself, the prediction sum p b, summed from both ends
    towards the middle so that uniform logits give exactly 0. Targets beyond the bins count as the outermost bin.

    Args:
        logits: (*B, K).
        bins: (K,), from `make_bins`.
    """

    def __init__(self, logits: Tensor, bins: Tensor, variant: Variant = "symlog_linear") -> None:
        self.logits = logits
        self.bins = bins
        self.variant = variant

    @property
    def batch_shape(self) -> torch.Size:
        return self.logits.shape[:-1]

    @property
    def event_shape(self) -> torch.Size:
        return torch.Size()

    @cached_property
    def log_probs(self) -> Tensor:
        """(*B, K), normalised; with its graph even where `mean` asks first and without one."""
        with torch.set_grad_enabled(self.logits.requires_grad or torch.is_grad_enabled()):
            return F.log_softmax(self.logits, -1)

    @cached_property
    def mean(self) -> Tensor:
        """(*B), the prediction."""
        # Logits with a graph are going to be judged too, and then their exponentials are most of both answers.
        probs = self.log_probs.exp() if self.logits.requires_grad else F.softmax(self.logits, -1)  # (*B, K)
        if self.variant == "symlog_linear":
            return symexp(_expected(probs, self.bins))  # (*B)
        half = self.bins.shape[0] // 2
        weighted = probs * self.bins  # (*B, K)
        # Pairs of mirrored bins are added first: their huge terms cancel exactly where their probabilities agree.
        pairs = weighted[..., :half] + weighted[..., half + 1 :].flip(-1)  # (*B, K // 2)
        return pairs.sum(-1)  # (*B); the middle bin is 0

    @property
    def mode(self) -> Tensor:
        """(*B), the same as the mean: the most likely bin would be a coarse answer."""
        return self.mean

    def target(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(*B) numbers -> index of the lower bin, of the upper bin, and weight of the upper bin, each (*B)."""
        x = symlog(value) if self.variant == "symlog_linear" else value
        bins = self.bins.to(x.dtype)
        x = x.clamp(bins[0], bins[-1])
        upper = torch.searchsorted(bins, x.detach().contiguous(), right=True).clamp(1, len(bins) - 1)  # (*B)
        lower = upper - 1
        weight = (x - bins[lower]) / (bins[upper] - bins[lower])  # (*B)
        return lower, upper, weight

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B) -> (*B): minus the cross entropy to the two-hot target."""
        lower, upper, weight = self.target(value)
        weight = weight.to(self.log_probs.dtype)
        # One gather for both bins: its backward writes a tensor of the logits' size only once.
        both = self.log_probs.gather(-1, torch.stack((lower, upper), -1))  # (*B, 2)
        return (both * torch.stack((1 - weight, weight), -1)).sum(-1)

    def entropy(self) -> Tensor:
        """(*B), of the distribution over bins."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    def draw(self, sampling: Sampling) -> Tensor:
        """The mean: the spread over bins expresses uncertainty about the prediction, not noise of the world."""
        return self.mean

    def detach(self) -> TwoHot:
        """The same distribution, cut from the graph."""
        return TwoHot(self.logits.detach(), self.bins, self.variant)


def _expected(probs: Tensor, bins: Tensor) -> Tensor:
    """sum p b, (*B, K) and (K,) -> (*B). As a matrix product, unless mixed precision would round it: symexp blows the
    rounding up."""
    if torch.is_autocast_enabled(probs.device.type):
        return (probs * bins).sum(-1)
    return probs @ bins.to(probs.dtype)
