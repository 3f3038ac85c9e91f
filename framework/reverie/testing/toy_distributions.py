"""Two distributions that draw through `Sampling` and need nothing of `reverie.nn`: an independent route for tests."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from reverie.contracts import Sampling


class ToyNormal:
    """A diagonal normal of one fixed standard deviation.

    Args:
        mean: (*B, *event).
        std: one number.
        event_dims: how many trailing dimensions are the event.
        bound: draws (not the mean) are clipped to [-bound, bound], without a gradient through the clip.
    """

    def __init__(self, mean: Tensor, std: float, event_dims: int = 1, bound: float = math.inf) -> None:
        self.mean, self.std, self.event_dims, self.bound = mean, std, event_dims, bound

    @property
    def batch_shape(self) -> torch.Size:
        return self.mean.shape[: self.mean.dim() - self.event_dims]

    @property
    def event_shape(self) -> torch.Size:
        return self.mean.shape[self.mean.dim() - self.event_dims :]

    @property
    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B)."""
        each = -0.5 * ((value - self.mean) / self.std).square() - math.log(self.std * math.sqrt(2 * math.pi))
        return each.flatten(-self.event_dims).sum(-1) if self.event_dims else each

    def entropy(self) -> Tensor:
        """(*B)."""
        one = 0.5 + 0.5 * math.log(2 * math.pi) + math.log(self.std)
        return self.mean.new_full(self.batch_shape, one * self.event_shape.numel())

    def kl(self, other: Any) -> Tensor:
        """KL(self || other), (*B), to another normal that has `mean` and `std`."""
        mine, theirs = torch.as_tensor(self.std).to(self.mean), torch.as_tensor(other.std).to(self.mean)
        shift = (self.mean - other.mean) / theirs
        each: Tensor = torch.log(theirs / mine) + 0.5 * ((mine / theirs).square() + shift.square() - 1)
        each = each.expand(self.mean.shape)
        return each.flatten(-self.event_dims).sum(-1) if self.event_dims else each

    def draw(self, sampling: Sampling) -> Tensor:
        """A reparameterised draw, (*B, *event)."""
        noise = sampling.randn(self.mean.shape, device=self.mean.device, dtype=self.mean.dtype)
        value = self.mean + self.std * math.sqrt(sampling.temperature) * noise
        return value + (value.clamp(-self.bound, self.bound) - value).detach()


class ToyOneHot:
    """A categorical over one-hot vectors, drawn by inverse CDF with straight-through gradients.

    Args:
        logits: (*B, A).
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.log_softmax(-1)

    @property
    def batch_shape(self) -> torch.Size:
        return self.logits.shape[:-1]

    @property
    def event_shape(self) -> torch.Size:
        return self.logits.shape[-1:]

    @property
    def mean(self) -> Tensor:
        return self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self.logits.argmax(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B)."""
        return (value * self.logits).sum(-1)

    def entropy(self) -> Tensor:
        """(*B)."""
        return -(self.mean * self.logits).sum(-1)

    def draw(self, sampling: Sampling) -> Tensor:
        """(*B, A): one-hot in value, with the gradient of the probabilities."""
        probs = (self.logits / sampling.temperature).softmax(-1)
        uniform = sampling.rand((*self.batch_shape, 1), device=probs.device, dtype=probs.dtype)
        index = (probs.cumsum(-1) < uniform).sum(-1).clamp(max=probs.shape[-1] - 1)  # (*B)
        return self._one_hot(index) + (probs - probs.detach())  # the brackets keep the value exactly one-hot

    def _one_hot(self, index: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(index, self.logits.shape[-1]).to(self.logits.dtype)
