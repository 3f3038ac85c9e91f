"""Linear layers whose weight is zero off a block diagonal."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.nn.blocks import initialize


class BlockLinear(nn.Module):
    """A linear layer in `blocks` parts: outputs of block k read only inputs of block k, and numbers that all share.

    A dense layer over [x, shared] whose weight for x is cut to its block diagonal, at 1 / blocks of the cost: what
    makes the wide recurrent state of DreamerV3's current code affordable. Its initial weights are as small as if each
    block owned all of x and a copy of `shared` (as in that code).

    Args:
        inputs, outputs: of the whole layer; multiples of `blocks`.
        shared: size of what every block reads besides its own part; 0 where there is none.

    Raises:
        ValueError: if the sizes cannot be split.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, *, shared: int = 0, bias: bool = True) -> None:
        super().__init__()
        if inputs % blocks or outputs % blocks:
            raise ValueError(f"{inputs} inputs and {outputs} outputs cannot be split into {blocks} equal blocks")
        self.blocks = blocks
        fan_in = inputs + blocks * shared
        self.weight = nn.Parameter(torch.empty(blocks, inputs // blocks, outputs // blocks))
        initialize(self.weight, fan_in, outputs)
        self.shared_weight = nn.Parameter(torch.empty(outputs, shared)) if shared else None
        if self.shared_weight is not None:
            initialize(self.shared_weight, fan_in, outputs)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor, shared: Tensor | None = None) -> Tensor:
        """(*B, inputs), (*B, shared) -> (*B, outputs), block after block."""
        parts = x.reshape(-1, self.blocks, self.weight.shape[1]).transpose(0, 1)  # (blocks, N, inputs / blocks)
        out = torch.bmm(parts, self.weight).transpose(0, 1)  # (N, blocks, outputs / blocks)
        out = out.reshape(*x.shape[:-1], -1)  # (*B, outputs)
        if self.shared_weight is not None and shared is not None:
            return out + F.linear(shared, self.shared_weight, self.bias)
        if self.shared_weight is not None or shared is not None:
            raise ValueError("give `shared` to a block layer that was made with it, and to no other")
        return out if self.bias is None else out + self.bias
