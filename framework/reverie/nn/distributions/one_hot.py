"""One-hot categoricals."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts.sampling import Sampling
from reverie.nn.distributions.common import batch_of, event_of, sum_event

_SHORT, _MANY = 16, 256
"""Rows of fewer entries than the first are worth transposing if there are at least as many as the second."""


def mix_uniform(probs: Tensor, unimix: float) -> Tensor:
    """(1 - unimix) probs + unimix / K: no class ever has probability 0 (DreamerV3, section 3; note 10)."""
    return torch.add(unimix / probs.shape[-1], probs, alpha=1 - unimix) if unimix else probs


def softmax(logits: Tensor) -> Tensor:
    """`logits.softmax(-1)`, (*B, K), by columns where the rows are many and short.

    On a CPU torch normalises rows of fewer than 16 entries one number at a time; along the first dimension it takes
    whole vectors (three times as fast at 1,024 rows of 8). The result may be a transposed view.
    """
    classes = logits.shape[-1]
    if classes >= _SHORT or logits.numel() < _MANY * classes or logits.device.type != "cpu":
        return logits.softmax(-1)
    return logits.reshape(-1, classes).t().softmax(0).t().view(logits.shape)


def index_from(probs: Tensor, uniform: Tensor) -> Tensor:
    """Draws by the inverse of the cumulative distribution, several times cheaper than `multinomial`: (*B) classes.

    Args:
        probs: (*B, K).
        uniform: (*B) in [0, 1).
    """
    cumulative = probs.cumsum(-1).contiguous()  # (*B, K)
    noise = uniform.to(probs.dtype).contiguous().unsqueeze(-1)  # (*B, 1)
    index = torch.searchsorted(cumulative, noise, right=True).squeeze(-1)  # (*B): how many entries are not above
    return index.clamp_max_(probs.shape[-1] - 1)  # the last class takes whatever rounding leaves over


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """(*B) classes -> (*B, K) one-hot vectors of the K classes, dtype and device of `like` (*B, K). The class K, which
    there is not, gives zeros."""
    classes = like.shape[-1]
    return F.embedding(index, torch.eye(classes + 1, classes, dtype=like.dtype, device=like.device))  # (*B, K)


def one_hot_from(probs: Tensor, uniform: Tensor) -> Tensor:
    """One-hot draws (*B, K), from probabilities (*B, K) and uniform noise (*B)."""
    return one_hot(index_from(probs, uniform), probs)


class OneHot:
    """A categorical over one-hot vectors, with a uniform share and straight-through gradients.

    Args:
        logits: (*B, K), or (*B, G, K) for G independent categoricals with `event_dims=2`. None if `probs` is given.
        unimix: share of the uniform distribution, in sampling, log-probability, entropy and divergence alike.
        event_dims: 1 or 2.
        probs: probabilities instead of logits, already mixed.
    """

    def __init__(
        self,
        logits: Tensor | None = None,
        unimix: float = 0.0,
        event_dims: int = 1,
        *,
        probs: Tensor | None = None,
    ) -> None:
        if probs is None:
            if logits is None:
                raise ValueError("OneHot needs logits or probs")
            probs = mix_uniform(softmax(logits), unimix)  # (*B, K)
        self._plain_logits = logits if unimix == 0 else None
        self.probs = probs
        self.event_dims = event_dims

    @cached_property
    def log_probs(self) -> Tensor:
        """(*B, K), normalised."""
        if self._plain_logits is not None:
            return F.log_softmax(self._plain_logits, -1)
        return self.probs.clamp_min(torch.finfo(self.probs.dtype).tiny).log()

    @property
    def batch_shape(self) -> torch.Size:
        return batch_of(self.probs, self.event_dims)

    @property
    def event_shape(self) -> torch.Size:
        return event_of(self.probs, self.event_dims)

    @property
    def mean(self) -> Tensor:
        """(*B, K), the probabilities."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """(*B, K), the most likely one-hot vector, straight-through."""
        return self.straight_through(self.mode_index)

    @property
    def mode_index(self) -> Tensor:
        """(*B), the most likely class, of each categorical."""
        return self.probs.argmax(-1)

    def straight_through(self, index: Tensor) -> Tensor:
        """(*B) classes -> (*B, K): one-hot in value, with the gradient of the probabilities, one_hot + p - sg(p)."""
        probs = self.probs
        sample = one_hot(index, probs)
        return sample + (probs - probs.detach()) if probs.requires_grad else sample

    def index_from_noise(self, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """(*B) drawn classes, made of uniform noise (*B) in [0, 1)."""
        probs = self.probs.detach() if self.probs.requires_grad else self.probs
        if temperature != 1.0:
            probs = F.softmax(self.log_probs.detach() / temperature, -1)
        return index_from(probs, uniform)

    def from_noise(self, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """A straight-through draw (*B, K) made of uniform noise (*B) in [0, 1)."""
        return self.straight_through(self.index_from_noise(uniform, temperature))

    def draw(self, sampling: Sampling) -> Tensor:
        """A straight-through draw (*B, K)."""
        noise = sampling.rand(self.probs.shape[:-1], device=self.probs.device)  # (*B) or (*B, G)
        return self.from_noise(noise.to(self.probs.dtype), sampling.temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*B, K) one-hot vectors -> (*B)."""
        return sum_event(value * self.log_probs, self.event_dims)

    def entropy(self) -> Tensor:
        """(*B)."""
        return -sum_event(self.probs * self.log_probs, self.event_dims)

    def detach(self) -> OneHot:
        """The same distribution, cut from the graph."""
        return OneHot(probs=self.probs.detach(), event_dims=self.event_dims)

    def kl(self, other: OneHot) -> Tensor:
        """KL(self || other), (*B), summed over the event."""
        return sum_event(self.probs * (self.log_probs - other.log_probs), self.event_dims)
