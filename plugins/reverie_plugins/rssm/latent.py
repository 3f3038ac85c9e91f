"""The two kinds of RSSM state, and how network outputs become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts import Latent, Sampling
from reverie.nn import Normal, OneHot


@dataclass(frozen=True)
class CategoricalLatent(Latent):
    """deter (*B, D), stoch (*B, G, K) one-hot, and the probabilities that it was drawn from, (*B, G, K)."""

    event_dims: ClassVar[dict[str, int]] = {"stoch": 2, "probs": 2}

    deter: Tensor
    stoch: Tensor
    probs: Tensor

    @property
    def features(self) -> Tensor:
        """(*B, D + G * K): [deter, stoch]."""
        return torch.cat((self.deter, self.stoch.flatten(-2)), -1)

    @property
    def distribution(self) -> OneHot:
        """The prior or posterior of `stoch`, batch shape (*B), event (G, K)."""
        return OneHot(probs=self.probs, event_dims=2)


@dataclass(frozen=True)
class GaussianLatent(Latent):
    """deter (*B, D), stoch (*B, S), and the mean and standard deviation that it was drawn from, (*B, S)."""

    deter: Tensor
    stoch: Tensor
    mean: Tensor
    std: Tensor

    @property
    def features(self) -> Tensor:
        """(*B, D + S): [deter, stoch]."""
        return torch.cat((self.deter, self.stoch), -1)

    @property
    def distribution(self) -> Normal:
        """The prior or posterior of `stoch`, batch shape (*B), event (S,)."""
        return Normal(self.mean, self.std, 1)


RSSMLatent = CategoricalLatent | GaussianLatent


class Categorical:
    """G categoricals of K classes, with a uniform share and straight-through gradients (notes 9 and 10)."""

    def __init__(self, groups: int, classes: int, unimix: float) -> None:
        self.event = (groups, classes)
        self.unimix = unimix
        self.size = groups * classes
        self.outputs = groups * classes

    def noise(self, sampling: Sampling, rows: int, draws: int, like: Tensor) -> Tensor | None:
        """(rows, draws, G) uniform; None where nothing is drawn."""
        if sampling.mode == "mode":
            return None
        return sampling.rand((rows, draws, self.event[0]), device=like.device).to(like.dtype)

    def distribution(self, outputs: Tensor) -> OneHot:
        """(*B, G * K) network outputs -> a distribution."""
        return OneHot(outputs.reshape(*outputs.shape[:-1], *self.event), self.unimix, 2)

    def parameters(self, distribution: OneHot) -> tuple[Tensor, ...]:
        """The tensors of a distribution that the latent keeps."""
        return (distribution.probs,)

    def latent(self, deter: Tensor, stoch: Tensor, parameters: Sequence[Tensor]) -> CategoricalLatent:
        return CategoricalLatent(deter, stoch, *parameters)

    def initial(self, deter: Tensor) -> CategoricalLatent:
        """Zeros, and probabilities that prefer nothing."""
        zeros = deter.new_zeros(*deter.shape[:-1], *self.event)  # (B, G, K)
        return CategoricalLatent(deter, zeros, torch.full_like(zeros, 1 / self.event[1]))


class Gaussian:
    """S independent normals with standard deviation softplus(output) + min_std (PlaNet, appendix A)."""

    def __init__(self, size: int, min_std: float) -> None:
        self.min_std = min_std
        self.size = size
        self.outputs = 2 * size

    def noise(self, sampling: Sampling, rows: int, draws: int, like: Tensor) -> Tensor | None:
        """(rows, draws, S) standard normal; None where nothing is drawn."""
        if sampling.mode == "mode":
            return None
        return sampling.randn((rows, draws, self.size), device=like.device).to(like.dtype)

    def distribution(self, outputs: Tensor) -> Normal:
        """(*B, 2 * S) network outputs -> a distribution."""
        mean, std = outputs.chunk(2, -1)  # each (*B, S)
        return Normal(mean, F.softplus(std.contiguous()) + self.min_std, 1)  # nine times slower on every second half

    def parameters(self, distribution: Normal) -> tuple[Tensor, ...]:
        """The tensors of a distribution that the latent keeps."""
        return (distribution.mean, distribution.std)

    def latent(self, deter: Tensor, stoch: Tensor, parameters: Sequence[Tensor]) -> GaussianLatent:
        return GaussianLatent(deter, stoch, *parameters)

    def initial(self, deter: Tensor) -> GaussianLatent:
        """Zeros, and a standard normal."""
        zeros = deter.new_zeros(*deter.shape[:-1], self.size)  # (B, S)
        return GaussianLatent(deter, zeros, zeros, torch.ones_like(zeros))
