"""Convolutional stacks that halve and double images of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.nn.blocks import ActivationName, Norm, NormName, activate, has_bias, initialize, linear


def halvings(height: int, width: int, smallest: int = 4) -> list[tuple[int, int]]:
    """The sizes that an image passes through: halved (rounded down) while both sides stay at `smallest` or above.

    64x64 gives 32, 16, 8, 4; 84x84 gives 42, 21, 10, 5; an image too small to halve stays as it is.
    """
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * smallest:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _fit(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """The dense layers' initialisation, with fans counted over the kernel."""
    area = math.prod(layer.kernel_size)
    initialize(layer.weight, layer.in_channels * area, layer.out_channels * area)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class _Block(nn.Module):
    """A convolution, a norm over the channels of each pixel, an activation."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, norm: NormName, activation: ActivationName) -> None:
        super().__init__()
        _fit(conv)
        self.conv = conv
        self.norm = Norm(conv.out_channels, norm)
        self.activation: ActivationName = activation

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        x = self.conv(x)
        if self.norm.weight is not None:
            # Free of copies where the convolution worked in channels-last memory.
            x = self.norm.forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return activate(self.activation, x)


class ConvEncoder(nn.Module):
    """Images (*B, C, H, W) -> vectors (*B, output_size): kernel 4, stride 2, channels doubling.

    Args:
        shape: (C, H, W), any size.
        depth: channels of the first layer.
        smallest: images are halved while both sides stay at this or above.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        depth: int,
        smallest: int = 4,
        norm: NormName = "layer",
        activation: ActivationName = "silu",
    ) -> None:
        super().__init__()
        channels, height, width = shape
        sizes = halvings(height, width, smallest)
        blocks: list[nn.Module] = []
        for index in range(len(sizes) - 1):
            conv = nn.Conv2d(channels, depth * 2**index, 4, 2, 1, bias=has_bias(norm))
            blocks.append(_Block(conv, norm, activation))
            channels = depth * 2**index
        if not blocks:
            blocks.append(_Block(nn.Conv2d(channels, depth, 3, 1, 1, bias=has_bias(norm)), norm, activation))
            channels = depth
        self.blocks = nn.ModuleList(blocks)
        self.output_size = channels * sizes[-1][0] * sizes[-1][1]

    def forward(self, x: Tensor) -> Tensor:
        """(*B, C, H, W) -> (*B, output_size)."""
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:]).contiguous(memory_format=torch.channels_last)  # (N, C, H, W)
        for block in self.blocks:
            x = block(x)
        return x.reshape(*batch, -1)


class ConvDecoder(nn.Module):
    """Vectors (*B, inputs) -> images (*B, C, H, W), mirroring `ConvEncoder` at every size, odd ones included."""

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        depth: int,
        smallest: int = 4,
        norm: NormName = "layer",
        activation: ActivationName = "silu",
    ) -> None:
        super().__init__()
        channels, height, width = shape
        sizes = halvings(height, width, smallest)
        layers = len(sizes) - 1
        first = depth * 2 ** max(layers - 1, 0)
        self.grid = (first, *sizes[-1])
        self.linear = linear(inputs, math.prod(self.grid))
        blocks: list[nn.Module] = []
        before = first
        for index in range(layers - 1, -1, -1):
            last = index == 0
            after = channels if last else depth * 2 ** (index - 1)
            # What halving rounded away is put back.
            extra = (sizes[index][0] - 2 * sizes[index + 1][0], sizes[index][1] - 2 * sizes[index + 1][1])
            conv = nn.ConvTranspose2d(before, after, 4, 2, 1, extra, bias=last or has_bias(norm))
            blocks.append(_Block(conv, "none" if last else norm, "none" if last else activation))
            before = after
        if not blocks:
            blocks.append(_Block(nn.Conv2d(first, channels, 3, 1, 1), "none", "none"))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, inputs) -> (*B, C, H, W)."""
        batch = x.shape[:-1]
        x = F.linear(x, self.linear.weight, self.linear.bias).reshape(-1, *self.grid)  # (N, C', h, w)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        return x.reshape(*batch, *x.shape[1:])
