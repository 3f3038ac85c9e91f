"""Networks of one shape side by side, computed by one batched product per layer and not by a loop over members."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from reverie.nn.blocks import ActivationName, activate, initialize


class EnsembleLinear(nn.Module):
    """M linear layers: (M, N, inputs) -> (M, N, outputs). Each member begins with weights of its own, biases at 0."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))
        initialize(self.weight, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)  # (M, N, outputs)


class EnsembleMLP(nn.Module):
    """M networks with `layers` hidden layers each, and a plain last one.

    Args:
        members: networks, M.
        inputs, outputs: sizes of the last dimension read and written.
        units: size of each hidden layer.
        layers: hidden layers; may be 0.
        activation: of the hidden layers.
    """

    def __init__(
        self, members: int, inputs: int, units: int, layers: int, outputs: int, activation: ActivationName = "silu"
    ) -> None:
        super().__init__()
        sizes = [inputs, *[units] * layers, outputs]
        self.layers = nn.ModuleList(EnsembleLinear(members, a, b) for a, b in itertools.pairwise(sizes))
        self.members = members
        self.activation: ActivationName = activation

    def forward(self, x: Tensor) -> Tensor:
        """(M, N, inputs), or (N, inputs) for all members alike -> (M, N, outputs)."""
        if x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        for layer in self.layers[:-1]:
            x = activate(self.activation, layer.forward(x))  # (M, N, units)
        answer: Tensor = self.layers[-1].forward(x)
        return answer

    def routed(self, x: Tensor, member: Tensor) -> Tensor:
        """Each row through one member: (R, inputs), (R,) int64 -> (R, outputs).

        Rows are sorted into a block per member. Blocks as long as the longest are filled up, and that is thrown away.
        """
        if self.members == 1:
            return self.forward(x[None])[0]
        order = member.argsort(stable=True)  # (R,)
        counts = torch.bincount(member, minlength=self.members)  # (M,)
        longest = int(counts.max())
        if longest * self.members == len(member):  # every member has as many rows: how planners' particles come
            answered = self.forward(x[order].reshape(self.members, longest, x.shape[-1]))  # (M, R / M, outputs)
            return torch.empty_like(answered.flatten(0, 1)).index_copy(0, order, answered.flatten(0, 1))
        mine = member[order]  # (R,)
        begin = counts.cumsum(0) - counts  # (M,): where each member's rows begin among the sorted ones
        place = mine * longest + torch.arange(len(mine), device=x.device) - begin[mine]  # (R,): the line of all blocks
        blocks = x.new_zeros(self.members * longest, x.shape[-1]).index_copy(0, place, x[order])
        answered = self.forward(blocks.reshape(self.members, longest, x.shape[-1]))  # (M, K, outputs)
        found = answered.flatten(0, 1)[place]  # (R, outputs), sorted
        return torch.empty_like(found).index_copy(0, order, found)
