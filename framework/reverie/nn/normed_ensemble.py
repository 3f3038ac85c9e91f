"""Networks of one shape side by side, with layer norms: an ensemble of which some members may be asked alone."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.nn.blocks import NORM_EPS, ActivationName, activate, initialize
from reverie.nn.ensemble import EnsembleLinear


class EnsembleDense(nn.Module):
    """M blocks of activation(layer norm(linear(x))), each with weights, gain and shift of its own."""

    def __init__(self, members: int, inputs: int, outputs: int, activation: ActivationName = "silu") -> None:
        super().__init__()
        self.activation: ActivationName = activation
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        initialize(self.weight, inputs, outputs)
        self.gain = nn.Parameter(torch.ones(members, 1, outputs))
        self.shift = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor, members: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """(M, N, inputs) -> (M, N, outputs).

        Args:
            members: (K,) indices; then `x` and the answer have K in place of M.
            keep: (M, N, outputs) factors of what the linear layer gives, before the norm (dropout).
        """
        x = torch.bmm(x, _some(self.weight, members))  # (M, N, outputs)
        if keep is not None:
            x = x * keep
        x = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        return activate(self.activation, torch.addcmul(_some(self.shift, members), x, _some(self.gain, members)))


class NormedEnsembleMLP(nn.Module):
    """M multilayer perceptrons over the same input.

    Args:
        members, inputs, units, layers, outputs, activation: as for `EnsembleMLP`; hidden layers have a layer norm.
        zero_output: start with an output of exactly 0 (note 18).
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        units: int,
        layers: int,
        outputs: int,
        activation: ActivationName = "silu",
        *,
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        self.members = members
        sizes = [inputs] + [units] * layers
        self.hidden = nn.ModuleList(EnsembleDense(members, a, b, activation) for a, b in itertools.pairwise(sizes))
        self.output = EnsembleLinear(members, sizes[-1], outputs)
        if zero_output:
            nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, members: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """(*B, inputs) -> (*B, M, outputs), what each member says.

        Args:
            members: (K,) indices of those that are asked; the answer then has K in place of M.
            keep: (*B, M, units) factors of the first hidden layer before its norm (dropout).
        """
        batch, count = x.shape[:-1], self.members if members is None else len(members)
        rows = x.reshape(1, -1, x.shape[-1]).expand(count, -1, -1)  # (M, N, inputs)
        first = None if keep is None else keep.flatten(0, -3).movedim(1, 0)  # (M, N, units)
        for layer in self.hidden:
            rows, first = layer.forward(rows, members, first), None  # (M, N, units)
        output = self.output
        answer = torch.baddbmm(_some(output.bias, members), rows, _some(output.weight, members))  # (M, N, outputs)
        return answer.movedim(0, 1).reshape(*batch, count, -1)  # (*B, M, outputs)


def _some(parameter: Tensor, members: Tensor | None) -> Tensor:
    return parameter if members is None else parameter.index_select(0, members)
