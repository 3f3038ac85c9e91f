"""The recurrent cells of the versions (note 11): blocks against a dense layer and plain loops, the standard GRU against
torch's, and the learned initial state."""

import math

import pytest
import torch
from torch import nn

from reverie.contracts import ActionSpec, Sampling
from reverie.nn import BlockGRU, BlockLinear, StandardGRUCell
from reverie.nn.blocks import NORM_EPS
from reverie_plugins.rssm.config import RSSMConfig
from reverie_plugins.rssm.dynamics import RSSM


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def randomised(module: nn.Module) -> nn.Module:
    """In double precision, with biases and gains that are not their initial zeros and ones."""
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [0, 5])
def test_a_block_layer_is_a_dense_layer_with_a_block_diagonal_weight(shared: int, bias: bool):
    layer = randomised(BlockLinear(6, 9, 3, shared=shared, bias=bias))
    dense = nn.Linear(6 + shared, 9, bias=bias).double()
    with torch.no_grad():
        diagonal = torch.block_diag(*[block.t() for block in layer.weight])  # (9, 6)
        dense.weight.copy_(torch.cat([diagonal, *([layer.shared_weight] if shared else [])], 1))
        if bias:
            dense.bias.copy_(layer.bias)
    x, other = torch.randn(2, 4, 6, dtype=torch.float64), torch.randn(2, 4, shared, dtype=torch.float64)
    found = layer(x, other if shared else None)
    wanted = dense(torch.cat([x, other], -1))
    torch.testing.assert_close(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    gradient = torch.stack([dense.weight.grad[3 * k : 3 * k + 3, 2 * k : 2 * k + 2].t() for k in range(3)])
    torch.testing.assert_close(layer.weight.grad, gradient)
    if shared:
        torch.testing.assert_close(layer.shared_weight.grad, dense.weight.grad[:, 6:])


def test_one_block_is_a_dense_layer():
    layer = BlockLinear(4, 6, 1)
    x = torch.randn(3, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight[0])
    assert sum(p.numel() for p in BlockLinear(64, 64, 8, bias=False).parameters()) == 64 * 64 // 8


def test_initial_weights_are_those_of_a_layer_with_copies_of_what_is_shared():
    torch.manual_seed(0)
    layer = BlockLinear(256, 512, 8, shared=64)
    wanted = math.sqrt(2 / (256 + 8 * 64 + 512))
    assert layer.weight.std().item() == pytest.approx(wanted, rel=0.02)
    assert layer.shared_weight.std().item() == pytest.approx(wanted, rel=0.02)


def test_sizes_that_do_not_split_are_refused():
    with pytest.raises(ValueError, match="cannot be split into 4"):
        BlockLinear(6, 8, 4)
    with pytest.raises(ValueError, match="`shared`"):
        BlockLinear(4, 4, 2)(torch.zeros(1, 4), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="`shared`"):
        BlockLinear(4, 4, 2, shared=3)(torch.zeros(1, 4))


def normed(values: list[float], gain: list[float]) -> list[float]:
    scale = math.sqrt(sum(v * v for v in values) / len(values) + NORM_EPS)
    return [v / scale * g for v, g in zip(values, gain, strict=True)]


def layer(x: list[float], weight: list[list[float]], bias: list[float], gain: list[float]) -> list[float]:
    """silu(rms(W x + b))."""
    sums = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    return [v * sigmoid(v) for v in normed(sums, gain)]


def step(cell: BlockGRU, state: list[float], stoch: list[float], action: list[float]) -> list[float]:
    """The public code's step over numbers: every block gets its part of the state and a copy of the three inputs."""
    inputs: list[float] = []
    for part, x in ((cell.state_in, state), (cell.stoch_in, stoch), (cell.action_in, action)):
        inputs += layer(x, part.linear.weight.tolist(), part.linear.bias.tolist(), part.norm.weight.tolist())
    size, blocks = len(state), cell.blocks
    each = size // blocks
    hidden = []
    for k in range(blocks):
        for j in range(each):
            own = sum(float(cell.hidden.weight[k, i, j]) * state[k * each + i] for i in range(each))
            row = cell.hidden.shared_weight[k * each + j].tolist()
            shared = sum(w * v for w, v in zip(row, inputs, strict=True))
            hidden.append(own + shared + float(cell.hidden.bias[k * each + j]))
    hidden = [v * sigmoid(v) for v in normed(hidden, cell.norm.weight.tolist())]
    answer = []
    for k in range(blocks):
        gates = [
            sum(float(cell.gates.weight[k, i, o]) * hidden[k * each + i] for i in range(each))
            + float(cell.gates.bias[k * 3 * each + o])
            for o in range(3 * each)
        ]
        for j in range(each):
            reset, candidate, update = sigmoid(gates[j]), gates[each + j], sigmoid(gates[2 * each + j] - 1)
            answer.append(update * math.tanh(reset * candidate) + (1 - update) * state[k * each + j])
    return answer


def test_the_block_cell_equals_the_equations():
    cell = randomised(BlockGRU(6, 4, 2, 5, 3))
    assert isinstance(cell, BlockGRU)
    state, stoch, action = (torch.randn(3, n, dtype=torch.float64) for n in (6, 4, 2))
    expected = [step(cell, *one) for one in zip(state.tolist(), stoch.tolist(), action.tolist(), strict=True)]
    found = cell(state, stoch, cell.project(action))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_fresh_block_cell_remembers():
    cell = BlockGRU(8, 4, 2, 5, 4)
    nn.init.zeros_(cell.gates.weight)
    kept = cell(torch.ones(1, 8), torch.zeros(1, 4), cell.project(torch.zeros(1, 2)))
    torch.testing.assert_close(kept, torch.full((1, 8), 1 - sigmoid(-1.0)))


def test_the_standard_cell_is_torchs():
    cell, torchs = randomised(StandardGRUCell(3, 4)), nn.GRUCell(3, 4).double()
    with torch.no_grad():
        torchs.weight_ih.copy_(cell.input.weight)
        torchs.bias_ih.copy_(cell.input.bias)
        torchs.weight_hh.copy_(cell.recurrent.weight)
        torchs.bias_hh.copy_(cell.recurrent.bias)
    x, state = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    torch.testing.assert_close(cell(x, state), torchs(x, state))
    with torch.no_grad():  # imagining goes another way
        torch.testing.assert_close(cell(x, state), torchs(x, state))


def rssm(**options: object) -> RSSM:
    torch.manual_seed(0)
    config = RSSMConfig(**{"deter": 8, "hidden": 6, "groups": 3, "classes": 4, **options})
    return RSSM(config, 5, ActionSpec("continuous", 2))


def test_the_options_choose_the_cell():
    assert isinstance(rssm(blocks=4, norm="rms").core, BlockGRU)
    assert isinstance(rssm(cell="standard", norm="none").cell, StandardGRUCell)
    assert len(rssm(layers=1, prior_layers=3).prior.hidden) == 3
    assert len(rssm(layers=3, prior_layers=1).posterior.hidden) == 2  # the first layer is the one that joins
    with pytest.raises(ValueError, match="does not divide 8"):
        RSSMConfig(deter=8, blocks=3)
    with pytest.raises(ValueError, match="no blocks"):
        RSSMConfig(deter=8, blocks=2, cell="standard")


def test_the_block_rssm_steps_by_its_cell():
    """Observed and imagined states follow the cell, with the action scaled back into its bounds."""
    model = rssm(blocks=4, norm="rms")
    embed, action = torch.randn(1, 2, 5), torch.tensor([[[0.0, 0.0], [0.5, -2.0]]])
    first = torch.tensor([[True, False]])
    observed = model.observe(embed, action, first, sampling=Sampling(mode="mode"))
    before = observed.states[:, 0]
    wanted = model.core(before.deter, before.stoch.flatten(1), model.core.project(torch.tensor([[0.5, -1.0]])))
    torch.testing.assert_close(observed.states.deter[:, 1], wanted)
    imagined = model.imagine(before, action[:, 1], Sampling(mode="mode"))
    torch.testing.assert_close(imagined.deter, wanted)


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_a_learned_beginning(latent: str):
    """tanh of a trained vector, and the prior's mode there; it is trained through episodes that begin, and through
    them only."""
    model = rssm(initial="learned", latent=latent)
    assert bool((model.initial(2).deter == 0).all())
    with torch.no_grad():
        model.start.copy_(torch.linspace(-2, 2, 8))
    state = model.initial(2)
    assert not any(value.requires_grad for value in state.tensors().values())
    torch.testing.assert_close(state.deter, torch.tanh(torch.linspace(-2, 2, 8)).expand(2, 8))
    outputs = model.prior(state.deter)
    if latent == "gaussian":
        torch.testing.assert_close(state.stoch, outputs[:, :3])
    else:
        wanted = nn.functional.one_hot(outputs.reshape(2, 3, 4).argmax(-1), 4).float()
        assert torch.equal(state.stoch, wanted)
    embed, action = torch.randn(2, 3, 5), torch.rand(2, 3, 2)
    first = torch.tensor([[False, True, False], [False, False, False]])
    other = state.map(lambda value: value + 0.3 if value.is_floating_point() else value)
    given = model.observe(embed, action, first, other, sampling=Sampling(mode="mode"))
    action_now = model._project_action(torch.zeros(2, 2))
    fresh = model._advance(state.deter, state.stoch.flatten(1), action_now)
    torch.testing.assert_close(given.states.deter[0, 1], fresh[0])
    assert not torch.allclose(given.states.deter[1, 1], fresh[1])
    given.states.deter[1].sum().backward(retain_graph=True)
    assert model.start.grad is None or not model.start.grad.any()
    given.states.deter[0].sum().backward()
    assert bool(model.start.grad.any())
