"""The recurrent cells of the RSSM."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.nn.block_linear import BlockLinear
from reverie.nn.blocks import ActivationName, Dense, Norm, NormName, Product, activate, affine, has_bias, linear


class GRUCell(nn.Module):
    """The GRU of DreamerV2 and DreamerV3 (2023): one product, normalised before the gates.

    reset = sigmoid(r), candidate = tanh(reset * c), update = sigmoid(u - 1), next = update * candidate
    + (1 - update) * state, with [r, c, u] = norm(W [x, state]). The -1 makes a fresh cell remember (note 11).
    torch's own cell differs in all three: it normalises nothing, resets the state's product alone, and has no offset.
    """

    def __init__(self, inputs: int, size: int, norm: NormName = "layer") -> None:
        super().__init__()
        self.linear = linear(inputs + size, 3 * size, bias=has_bias(norm))
        self.norm = Norm(3 * size, norm)

    def carried(self, state: Tensor) -> Tensor:
        """(B, size) -> (B, 3 * size): the state's part of the product, for states that are stepped from repeatedly."""
        return F.linear(state, self.linear.weight[:, -state.shape[-1] :])

    def forward(self, x: Tensor, state: Tensor, known: Tensor | None = None, product: Product | None = None) -> Tensor:
        """(B, inputs), (B, size) -> the next state (B, size). `known` (B, 3 * size) is what `carried` says; `product`
        computes `linear` in its place, (B, inputs + size) -> (B, 3 * size)."""
        if known is not None:
            gates = F.linear(x, self.linear.weight[:, : x.shape[-1]], self.linear.bias) + known  # (B, 3 * size)
        else:
            both = torch.cat((x, state), -1)  # (B, inputs + size)
            gates = affine(self.linear, both) if product is None else product(both)  # (B, 3 * size)
        gates = self.norm.forward(gates).to(state.dtype)  # mixed precision: the state itself stays precise
        reset, candidate, update = gates.chunk(3, -1)  # each (B, size)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)  # (B, size)
        return torch.lerp(state, candidate, torch.sigmoid(update - 1))  # (B, size)


class StandardGRUCell(nn.Module):
    """The GRU of PlaNet and DreamerV1: torch's and Keras' own, without norm or offset.

    [r, u, c] = W x + b and [r', u', c'] = U state + b'; candidate = tanh(c + sigmoid(r + r') c'),
    next = (1 - sigmoid(u + u')) candidate + sigmoid(u + u') state. Note that its update gate keeps, where that of
    `GRUCell` replaces. Weights begin as in Keras: uniform for inputs, orthogonal for the state, biases 0.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 3 * size)
        self.recurrent = nn.Linear(size, 3 * size)
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.recurrent.bias)

    def carried(self, state: Tensor) -> Tensor:
        """(B, size) -> (B, 3 * size): the state's product, for states that are stepped from repeatedly."""
        product: Tensor = self.recurrent(state)
        return product

    def forward(self, x: Tensor, state: Tensor, known: Tensor | None = None, product: Product | None = None) -> Tensor:
        """(B, inputs), (B, size) -> the next state (B, size). `known` (B, 3 * size) is what `carried` says; `product`
        computes `recurrent` in its place, (B, size) -> (B, 3 * size)."""
        step = known is None and product is None
        if step and not torch.is_grad_enabled() and x.dtype == state.dtype == self.input.weight.dtype:
            return self._in_place(x, state)
        given = self.input(x).to(state.dtype).chunk(3, -1)  # 3 x (B, size)
        if known is None:
            known = self.carried(state) if product is None else product(state)  # (B, 3 * size)
        carried = known.to(state.dtype).chunk(3, -1)  # 3 x (B, size)
        reset = torch.sigmoid(given[0] + carried[0])  # (B, size)
        candidate = torch.tanh(given[2] + reset * carried[2])  # (B, size)
        return torch.lerp(candidate, state, torch.sigmoid(given[1] + carried[1]))  # (B, size)

    def _in_place(self, x: Tensor, state: Tensor) -> Tensor:
        """The same without a gradient: products are added onto what is there, and nothing is copied."""
        size = state.shape[-1]
        both = 2 * size
        given, bias = self.input.weight, self.input.bias
        carried, offset = self.recurrent.weight, self.recurrent.bias
        gates = F.linear(x, given[:both], bias[:both] + offset[:both])  # (B, 2 * size): reset and update
        gates.addmm_(state, carried[:both].t()).sigmoid_()
        candidate = F.linear(state, carried[both:], offset[both:])  # (B, size)
        torch.addcmul(bias[both:], candidate, gates[:, :size], out=candidate)
        candidate.addmm_(x, given[both:].t()).tanh_()
        return torch.lerp(candidate, state, gates[:, size:])  # (B, size)


class BlockGRU(nn.Module):
    """The recurrent step of DreamerV3's current code: a GRU whose state is worked on in diagonal blocks (note 11).

    State, stochastic state and action pass through a layer each; every block reads its own part of the state and all
    three, through one hidden block layer and one that gives the gates. What is normalised are these layers, not the
    gates: reset = sigmoid(r), candidate = tanh(reset * c), update = sigmoid(u - 1).

    Args:
        size: of the state; a multiple of `blocks`.
        stoch, action: sizes of the other inputs.
        hidden: units of the layers that read them.
    """

    def __init__(
        self,
        size: int,
        stoch: int,
        action: int,
        hidden: int,
        blocks: int,
        norm: NormName = "rms",
        activation: ActivationName = "silu",
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.activation: ActivationName = activation
        self.state_in = Dense(size, hidden, norm, activation)
        self.stoch_in = Dense(stoch, hidden, norm, activation)
        self.action_in = Dense(action, hidden, norm, activation)
        self.hidden = BlockLinear(size, size, blocks, shared=3 * hidden, bias=has_bias(norm))
        self.norm = Norm(size, norm)
        self.gates = BlockLinear(size, 3 * size, blocks)

    def project(self, action: Tensor) -> Tensor:
        """(*B, A) -> (*B, hidden): the action's part, which can be computed for all steps at once."""
        return self.action_in.forward(action)

    def forward(self, state: Tensor, stoch: Tensor, projected: Tensor) -> Tensor:
        """(B, size), (B, stoch) and the projected action (B, hidden) -> the next state (B, size)."""
        inputs = torch.cat((self.state_in.forward(state), self.stoch_in.forward(stoch), projected), -1)  # (B, 3 hidden)
        hidden = self.norm.forward(self.hidden.forward(state, inputs))  # (B, size)
        gates = self.gates.forward(activate(self.activation, hidden)).to(state.dtype)  # (B, 3 * size)
        grouped = gates.reshape(len(gates), self.blocks, -1).chunk(3, -1)  # 3 x (B, blocks, size / blocks)
        reset, candidate, update = (gate.reshape_as(state) for gate in grouped)  # each (B, size)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)  # (B, size)
        return torch.lerp(state, candidate, torch.sigmoid(update - 1))  # (B, size)
