"""The networks between observations and code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from reverie.contracts import ArraySpec
from reverie.nn import ActivationName, ConvDecoder, ConvEncoder, activate, linear
from reverie_plugins.vae.config import NetworkConfig

PAPER_SIDE = 64
"""Pixels on each side of the paper's pictures."""


class PaperEncoder(nn.Module):
    """Images (*B, C, 64, 64) -> (*B, 32 * depth): four convolutions, kernel 4, stride 2, no padding (appendix A.1)."""

    def __init__(self, channels: int, depth: int, activation: ActivationName) -> None:
        super().__init__()
        sizes = [channels, depth, 2 * depth, 4 * depth, 8 * depth]
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 4, 2) for before, after in pairwise(sizes))
        self.activation: ActivationName = activation
        self.output_size = 8 * depth * 2 * 2

    def forward(self, x: Tensor) -> Tensor:
        """(*B, C, 64, 64) -> (*B, output_size)."""
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])  # (N, C, 64, 64)
        for convolution in self.convolutions:
            x = activate(self.activation, convolution(x))  # (N, ., 31 / 14 / 6 / 2, same)
        return x.reshape(*batch, -1)


class PaperDecoder(nn.Module):
    """Codes (*B, Z) -> images (*B, C, 64, 64): a dense layer, then transposed convolutions, stride 2, kernels 5, 5, 6,
    6 (appendix A.1). Only the layers between have an activation."""

    def __init__(self, inputs: int, channels: int, depth: int, activation: ActivationName) -> None:
        super().__init__()
        self.wide = 32 * depth
        self.linear = linear(inputs, self.wide)
        sizes, kernels = [self.wide, 4 * depth, 2 * depth, depth, channels], (5, 5, 6, 6)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(before, after, kernel, 2)
            for before, after, kernel in zip(sizes[:-1], sizes[1:], kernels, strict=True)
        )
        self.activation: ActivationName = activation

    def forward(self, code: Tensor) -> Tensor:
        """(*B, Z) -> (*B, C, 64, 64), before any squashing."""
        x: Tensor = self.linear(code).reshape(-1, self.wide, 1, 1)  # (N, 32 * depth, 1, 1)
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x)  # (N, ., 5 / 13 / 30 / 64, same)
            if number < len(self.convolutions) - 1:
                x = activate(self.activation, x)
        return x.reshape(*code.shape[:-1], *x.shape[1:])


def image_encoder(config: NetworkConfig, key: str, spec: ArraySpec) -> PaperEncoder | ConvEncoder:
    """The layers that read one image entry.

    Raises:
        ValueError: for `layout: paper` and an image that is not 64 x 64.
    """
    shape = _shape(spec.model_shape)
    if config.layout == "paper":
        _check_side(key, shape)
        return PaperEncoder(shape[0], config.depth, config.activation)
    return ConvEncoder(shape, config.depth, config.smallest, config.norm, config.activation)


def image_decoder(config: NetworkConfig, inputs: int, key: str, spec: ArraySpec) -> PaperDecoder | ConvDecoder:
    """The layers that predict one image entry.

    Raises:
        ValueError: for `layout: paper` and an image that is not 64 x 64.
    """
    shape = _shape(spec.model_shape)
    if config.layout == "paper":
        _check_side(key, shape)
        return PaperDecoder(inputs, shape[0], config.depth, config.activation)
    return ConvDecoder(inputs, shape, config.depth, config.smallest, config.norm, config.activation)


def numbers(spec: ArraySpec) -> int:
    """Numbers in a vector entry."""
    return math.prod(spec.shape)


def _shape(shape: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def _check_side(key: str, shape: tuple[int, int, int]) -> None:
    if shape[1:] != (PAPER_SIDE, PAPER_SIDE):
        raise ValueError(
            f"`layout: paper` is made for images of 64 x 64, and '{key}' is {shape[1]} x {shape[2]}: "
            "resize it (env.image_size=64), or use layout=halving"
        )
