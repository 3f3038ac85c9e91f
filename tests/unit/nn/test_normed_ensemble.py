"""Batched networks equal the same networks one by one; simplices keep their dimensions."""

import torch
from torch.nn import functional as F

from reverie.nn import NormedEnsembleMLP, simplicial


def test_each_member_is_a_network_of_its_own():
    torch.manual_seed(0)
    net = NormedEnsembleMLP(3, 4, 6, 2, 5, "mish").double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(7, 2, 4, dtype=torch.float64)
    found = net(x)
    assert found.shape == (7, 2, 3, 5)
    for member in range(3):
        alone = x
        for layer in net.hidden:
            alone = F.layer_norm(alone @ layer.weight[member], (6,), eps=1e-3)
            alone = F.mish(alone * layer.gain[member] + layer.shift[member])
        alone = alone @ net.output.weight[member] + net.output.bias[member]
        torch.testing.assert_close(found[..., member, :], alone)
    torch.testing.assert_close(net(x, torch.tensor([2, 0])), found[..., [2, 0], :])


def test_factors_apply_to_the_first_layer_before_its_norm():
    torch.manual_seed(0)
    net = NormedEnsembleMLP(2, 4, 6, 2, 1, zero_output=True)
    assert torch.equal(net(torch.randn(3, 4)), torch.zeros(3, 2, 1))
    torch.nn.init.normal_(net.output.weight)
    x, ones = torch.randn(3, 4), torch.ones(3, 2, 6)
    torch.testing.assert_close(net(x, keep=ones), net(x))
    without = ones.clone()
    without[1, 0, 2] = 0.0
    changed = (net(x, keep=without) != net(x))[..., 0]
    assert changed.tolist() == [[False, False], [True, False], [False, False]]


def test_simplices_in_any_shape_with_gradients():
    x = torch.randn(300, 2, 6, dtype=torch.float64).requires_grad_()
    found = simplicial(x, 3)
    assert found.shape == x.shape
    torch.testing.assert_close(found.unflatten(-1, (2, 3)).sum(-1), torch.ones(300, 2, 2, dtype=torch.float64))
    weights = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    (wanted,) = torch.autograd.grad((x.unflatten(-1, (2, 3)).softmax(-1).flatten(-2) * weights).sum(), x)
    torch.testing.assert_close(gradient, wanted)
