"""Dense layers: the block that everything is made of, and stacks of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.contracts.latent import Latent

NormName = Literal["layer", "rms", "none"]
ActivationName = Literal["silu", "relu", "elu", "gelu", "tanh", "mish", "none"]

Product = Callable[[Tensor], Tensor]
"""What computes a linear layer in its place."""

_MANY = 1024
"""Rows from which on a product is worth a copy of its weight."""

NORM_EPS = 1e-3
"""Added to variances. Larger than torch's own, as in DreamerV3's code: units that are silent stay silent."""


def _elu(x: Tensor) -> Tensor:
    """torch's own is twice as slow, by its care for numbers next to 0: without a gradient, exp(x) - 1 will do."""
    if torch.is_grad_enabled():
        return F.elu(x)
    below = x.clamp_max(0).exp_().sub_(1)  # (*B, units); never less than x where x < 0, and 0 elsewhere
    return torch.maximum(x, below, out=below)


_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "elu": _elu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "mish": F.mish,
}


def activate(name: ActivationName, x: Tensor) -> Tensor:
    """Apply an activation by name."""
    return x if name == "none" else _ACTIVATIONS[name](x)


def initialize(weight: Tensor, fan_in: int, fan_out: int, scale: float = 1.0) -> None:
    """Fill with a normal truncated at two deviations, of variance scale / mean(fan_in, fan_out); zeros for scale 0."""
    with torch.no_grad():
        if scale == 0:
            weight.zero_()
            return
        # 0.8796 is the deviation that is left after cutting a standard normal at +-2.
        std = math.sqrt(2 * scale / (fan_in + fan_out)) / 0.87962566103423978
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def linear(inputs: int, outputs: int, *, bias: bool = True, scale: float = 1.0) -> nn.Linear:
    """A linear layer with the initialisation above and zero biases."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    initialize(layer.weight, inputs, outputs, scale)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def has_bias(norm: NormName) -> bool:
    """Whether a linear layer before this norm has a bias: LayerNorm brings its own, RMSNorm neither has one nor
    cancels it."""
    return norm != "layer"


def affine(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)`, (*B, inputs) -> (*B, outputs), without a module's call and look-ups: a small product takes hardly
    longer than those, and an update makes hundreds."""
    parameters: Any = layer._parameters
    weight, bias = parameters["weight"], parameters["bias"]
    outputs = weight.shape[0]
    if outputs > 64 and outputs % 8 and x.numel() >= _MANY * x.shape[-1] and not torch.is_grad_enabled():
        return _aligned(weight, bias, x)
    return F.linear(x, weight, bias)


def _aligned(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """A product of many rows is twice as fast if it writes rows of a multiple of eight numbers: 256 bins, not 255. The
    result is a view of them. (With a graph, what its backward pass copies costs what is gained.)"""
    outputs, more = weight.shape[0], -weight.shape[0] % 8
    padded = F.linear(x, F.pad(weight, (0, 0, 0, more)), None if bias is None else F.pad(bias, (0, more)))
    return padded[..., :outputs]


def affine_onto(added: Tensor, layer: nn.Linear, x: Tensor) -> Tensor:
    """`added + layer(x)` in one step: (B, outputs), a layer without bias, (B, inputs) -> (B, outputs)."""
    parameters: Any = layer._parameters
    return torch.addmm(added, x, parameters["weight"].t())


class Norm(nn.Module):
    """Normalises the last dimension: LayerNorm or RMSNorm with a learned gain (and bias), or nothing."""

    def __init__(self, size: int, kind: NormName = "layer") -> None:
        super().__init__()
        self.kind = kind
        self.shape = (size,)
        self.register_parameter("weight", nn.Parameter(torch.ones(size)) if kind != "none" else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(size)) if kind == "layer" else None)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, size) -> (*B, size)."""
        weight, bias = self._parameters["weight"], self._parameters["bias"]  # a module's own lookup takes far longer
        if weight is None:
            return x
        if bias is None:
            return F.rms_norm(x, self.shape, weight.to(x.dtype), NORM_EPS)
        return torch.layer_norm(x, self.shape, weight, bias, NORM_EPS)


class Dense(nn.Module):
    """activation(norm(linear(x))). The linear layer has no bias where the norm has one."""

    def __init__(
        self, inputs: int, outputs: int, norm: NormName = "layer", activation: ActivationName = "silu"
    ) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, bias=has_bias(norm))
        self.norm = Norm(outputs, norm)
        self.activation: ActivationName = activation

    def forward(self, x: Tensor) -> Tensor:
        """(*B, inputs) -> (*B, outputs)."""
        return self.finish(affine(self.linear, x))

    def finish(self, x: Tensor) -> Tensor:
        """Norm and activation of what the linear layer gave, for callers that compute its product themselves."""
        return activate(self.activation, self.norm.forward(x))


class MLP(nn.Module):
    """`layers` dense blocks and, if `outputs` is given, a plain linear layer.

    Args:
        inputs: size of the last dimension read.
        units: size of each hidden layer.
        layers: hidden layers; may be 0.
        outputs: size of the last dimension written; None ends after the hidden layers.
        zero_output: start with an output of exactly 0 (note 18).
        output_scale: variance scale of the last layer's initialisation.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        outputs: int | None = None,
        norm: NormName = "layer",
        activation: ActivationName = "silu",
        zero_output: bool = False,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = [inputs] + [units] * layers
        self.hidden = nn.ModuleList(
            Dense(before, after, norm, activation) for before, after in itertools.pairwise(sizes)
        )
        scale = 0.0 if zero_output else output_scale
        self.output = None if outputs is None else linear(sizes[-1], outputs, scale=scale)
        self.output_size = sizes[-1] if outputs is None else outputs

    def forward(self, x: Tensor, product: Product | None = None) -> Tensor:
        """(*B, inputs) -> (*B, outputs), or (*B, units) without an output layer. `product` computes that layer."""
        for block in self.hidden:
            x = block.forward(x)  # (*B, units)
        if product is not None:
            return product(x)
        output = self.output
        return x if output is None else affine(output, x)


class LatentMLP(nn.Module):
    """An MLP that reads a latent state through `latent.project`, and optionally one more tensor (an action).

    Args:
        feature_size: size of `latent.features`.
        units, layers, outputs, norm, activation, zero_output, output_scale: as for `MLP`.
        inputs: size of the further tensor; 0 where there is none.
    """

    def __init__(
        self,
        feature_size: int,
        units: int,
        layers: int,
        outputs: int,
        norm: NormName = "layer",
        activation: ActivationName = "silu",
        zero_output: bool = False,
        output_scale: float = 1.0,
        inputs: int = 0,
    ) -> None:
        super().__init__()
        scale = 0.0 if zero_output else output_scale
        first = units if layers else outputs
        plain = has_bias(norm) or not layers
        self.first = linear(feature_size, first, bias=plain, scale=1.0 if layers else scale)
        self.second = linear(inputs, first, bias=False, scale=1.0 if layers else scale) if inputs else None
        self.norm = Norm(first, norm) if layers else None
        self.activation: ActivationName = activation
        self.rest = (
            MLP(units, units, layers - 1, outputs, norm, activation, zero_output, output_scale) if layers else None
        )

    def forward(self, latent: Latent, inputs: Tensor | None = None) -> Tensor:
        """(*B,) latents, (*B, inputs) -> (*B, outputs)."""
        x = latent.project(self.first)  # (*B, units)
        second, norm, rest = self.second, self.norm, self.rest
        if second is not None:
            if inputs is None:
                raise ValueError("this network also reads a tensor (an action), but none was given")
            x = x + affine(second, inputs)  # (*B, units)
        if norm is None or rest is None:
            return x
        return rest.forward(activate(self.activation, norm.forward(x)))  # (*B, outputs)
