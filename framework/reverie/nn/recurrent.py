"""The recurrent cell of the RSSM."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.nn.blocks import Norm, NormName, linear


class GRUCell(nn.Module):
    """The GRU of DreamerV2 and DreamerV3 (2023): one product, normalised before the gates.

    reset = sigmoid(r), candidate = tanh(reset * c), update = sigmoid(u - 1), next = update * candidate
    + (1 - update) * state, with [r, c, u] = norm(W [x, state]). The -1 makes a fresh cell remember (note 11).
    torch's own cell differs in all three: it normalises nothing, resets the state's product alone, and has no offset.
    """

    def __init__(self, inputs: int, size: int, norm: NormName = "layer") -> None:
        super().__init__()
        self.linear = linear(inputs + size, 3 * size, bias=norm == "none")
        self.norm = Norm(3 * size, norm)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """(B, inputs), (B, size) -> the next state (B, size)."""
        joined = torch.cat((x, state), -1)  # (B, inputs + size)
        gates = F.linear(joined, self.linear.weight, self.linear.bias)  # (B, 3 * size)
        gates = self.norm.forward(gates).to(state.dtype)  # mixed precision: the state itself stays precise
        reset, candidate, update = gates.chunk(3, -1)  # each (B, size)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)  # (B, size)
        return torch.lerp(state, candidate, torch.sigmoid(update - 1))  # (B, size)
