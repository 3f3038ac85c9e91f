"""The two kinds of RSSM state, and how network outputs become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.contracts import Latent, Sampling
from reverie.nn import Normal, OneHot, affine_onto, lookup_pays, onto_lookup


@dataclass(frozen=True)
class CategoricalLatent(Latent):
    """deter (*B, D), the drawn classes (*B, G), and the probabilities that they were drawn from, (*B, G, K).

    A class of K stands for none: the zeros from which an episode begins. `stoch` and `features` are made when they are
    first asked for, so that whoever only looks classes up never pays for one-hot vectors.
    """

    event_dims: ClassVar[dict[str, int]] = {"probs": 2}

    deter: Tensor
    index: Tensor
    probs: Tensor

    @cached_property
    def stoch(self) -> Tensor:
        """(*B, G, K) one-hot, with the straight-through gradient of `probs`."""
        with _graphed(self.probs):
            return self.distribution.straight_through(self.index)

    @cached_property
    def features(self) -> Tensor:
        """(*B, D + G * K): [deter, stoch]."""
        with _graphed(self.deter, self.probs):
            return torch.cat((self.deter, self.stoch.flatten(-2)), -1)

    @property
    def distribution(self) -> OneHot:
        """The prior or posterior of `stoch`, batch shape (*B), event (G, K)."""
        return OneHot(probs=self.probs, event_dims=2)

    def project(self, linear: nn.Linear) -> Tensor:
        """`linear(features)`: by looking the classes up where no gradient is needed through them and that is faster."""
        size, weight = self.deter.shape[-1], linear.weight
        stoch = weight[:, size:]  # (U, G * K)
        if (self.probs.requires_grad and torch.is_grad_enabled()) or not lookup_pays(self.index, stoch):
            return super().project(linear)
        return onto_lookup(F.linear(self.deter, weight[:, :size], linear.bias), stoch, self.index)  # (*B, U)

    def onto(self, added: Tensor, layer: nn.Linear) -> Tensor:
        """`added + layer(stoch)`, (B, U), for a layer without bias; by looking up where that is allowed and faster."""
        if (self.probs.requires_grad and torch.is_grad_enabled()) or not lookup_pays(self.index, layer.weight):
            return affine_onto(added, layer, self.stoch.flatten(1))
        return onto_lookup(added, layer.weight, self.index)


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

    def onto(self, added: Tensor, layer: nn.Linear) -> Tensor:
        """`added + layer(stoch)`, (B, U), for a layer without bias."""
        return affine_onto(added, layer, self.stoch)


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

    def draw(self, distribution: OneHot, noise: Tensor | None, temperature: float) -> Tensor:
        """(*B, G) classes: drawn by the noise (*B, G), or without it the most likely ones."""
        return distribution.mode_index if noise is None else distribution.index_from_noise(noise, temperature)

    def vector(self, drawn: Tensor, distribution: OneHot) -> Tensor:
        """(*B, G * K): the drawn classes as one-hot vectors, straight-through."""
        return distribution.straight_through(drawn).flatten(-2)

    def parameters(self, distribution: OneHot) -> tuple[Tensor, ...]:
        """The tensors of a distribution that the latent keeps."""
        return (distribution.probs,)

    def latent(self, deter: Tensor, drawn: Tensor, parameters: Sequence[Tensor]) -> CategoricalLatent:
        return CategoricalLatent(deter, drawn, *parameters)

    def initial(self, deter: Tensor) -> CategoricalLatent:
        """No class, and probabilities that prefer nothing."""
        groups, classes = self.event
        none = torch.full((*deter.shape[:-1], groups), classes, device=deter.device)  # (B, G)
        return CategoricalLatent(deter, none, deter.new_full((*deter.shape[:-1], groups, classes), 1 / classes))


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

    def draw(self, distribution: Normal, noise: Tensor | None, temperature: float) -> Tensor:
        """(*B, S): drawn by the noise (*B, S), or without it the mean."""
        return distribution.mode if noise is None else distribution.from_noise(noise, temperature)

    def vector(self, drawn: Tensor, distribution: Normal) -> Tensor:
        """(*B, S): the draw itself."""
        return drawn

    def parameters(self, distribution: Normal) -> tuple[Tensor, ...]:
        """The tensors of a distribution that the latent keeps."""
        return (distribution.mean, distribution.std)

    def latent(self, deter: Tensor, drawn: Tensor, parameters: Sequence[Tensor]) -> GaussianLatent:
        return GaussianLatent(deter, drawn, *parameters)

    def initial(self, deter: Tensor) -> GaussianLatent:
        """Zeros, and a standard normal."""
        zeros = deter.new_zeros(*deter.shape[:-1], self.size)  # (B, S)
        return GaussianLatent(deter, zeros, zeros, torch.ones_like(zeros))


def _graphed(*inputs: Tensor) -> torch.set_grad_enabled:
    """What is kept for later has its graph, even if whoever asks first does so without one."""
    return torch.set_grad_enabled(torch.is_grad_enabled() or any(value.requires_grad for value in inputs))
