"""Yes or no."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts.sampling import Sampling


class Bernoulli:
    """A coin for each entry of `logits` (*B). `mean` is the probability of 1; `mode` is 1 from one half upwards.

    Targets may lie between 0 and 1 (a discount folded into a continue target): `log_prob` is then minus the cross
    entropy.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def batch_shape(self) -> torch.Size:
        return self.logits.shape

    @property
    def event_shape(self) -> torch.Size:
        return torch.Size()

    @cached_property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def mode(self) -> Tensor:
        return (self.logits >= 0).to(self.logits.dtype)

    def draw(self, sampling: Sampling) -> Tensor:
        """(*B) zeros and ones, without gradient."""
        noise = sampling.rand(self.logits.shape, device=self.logits.device)
        return (noise < torch.sigmoid(self.logits.detach() / sampling.temperature)).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B) -> (*B)."""
        return -F.binary_cross_entropy_with_logits(self.logits, value, reduction="none")

    def entropy(self) -> Tensor:
        """(*B)."""
        return F.binary_cross_entropy_with_logits(self.logits, self.mean, reduction="none")

    def detach(self) -> Bernoulli:
        """The same distribution, cut from the graph."""
        return Bernoulli(self.logits.detach())
