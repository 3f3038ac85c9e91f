import pytest
import torch

from reverie.contracts import Latent
from reverie.nn import MLP, Dense, LatentMLP, Norm, linear
from reverie.nn.blocks import activate, affine


class Plain(Latent):
    """A latent of one tensor that counts how often it is asked for its features."""

    def __init__(self, x: torch.Tensor) -> None:
        object.__setattr__(self, "x", x)

    @property
    def features(self) -> torch.Tensor:
        return self.x


class Doubling(Plain):
    def project(self, linear: torch.nn.Linear) -> torch.Tensor:
        return 2 * super().project(linear)


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_mlp_shapes_and_no_dead_parameters(norm, layers):
    net = MLP(3, 8, layers, 2, norm)
    out = net(torch.randn(4, 5, 3))
    assert out.shape == (4, 5, 2)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_mlp_without_output_ends_after_the_hidden_layers():
    net = MLP(3, 8, 2)
    assert net.output_size == 8
    assert net(torch.randn(4, 3)).shape == (4, 8)


def test_zero_output_starts_at_zero_and_learns():
    net = MLP(3, 8, 2, 2, zero_output=True)
    out = net(torch.randn(4, 3))
    assert torch.equal(out, torch.zeros(4, 2))
    out.sum().backward()
    assert net.output.weight.grad.abs().sum() > 0


def test_dense_is_activation_of_norm_of_linear():
    torch.manual_seed(0)
    block = Dense(3, 4)
    x = torch.randn(5, 3)
    z = x @ block.linear.weight.T
    z = (z - z.mean(-1, keepdim=True)) / (z.var(-1, unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(block(x), z * torch.sigmoid(z))


def test_rms_norm_does_not_centre():
    x = torch.tensor([[3.0, 3.0]])
    torch.testing.assert_close(Norm(2, "rms")(x), torch.ones(1, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(Norm(2, "layer")(x), torch.zeros(1, 2))


def test_initial_weights_have_the_stated_variance_and_are_truncated():
    torch.manual_seed(0)
    weight = linear(300, 500).weight.detach()
    std = (1 / 400) ** 0.5
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert weight.abs().max() <= 2 * std / 0.8796 + 1e-6


def test_latent_mlp_goes_through_project():
    torch.manual_seed(0)
    net = LatentMLP(3, 8, 1, 2, norm="none", activation="none")
    x = torch.randn(4, 3)
    torch.testing.assert_close(net(Doubling(x)), 2 * net(Plain(x)))


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_latent_mlp_equals_an_mlp_on_the_features(layers):
    torch.manual_seed(0)
    net, plain = LatentMLP(3, 8, layers, 2), MLP(3, 8, layers, 2)
    source = [parameter.detach().clone() for parameter in net.parameters()]
    assert sum(p.numel() for p in source) == sum(p.numel() for p in plain.parameters())
    with torch.no_grad():
        if layers:
            plain.hidden[0].linear.weight.copy_(net.first.weight)
            plain.hidden[0].norm.load_state_dict(net.norm.state_dict())
            for mine, theirs in zip(plain.hidden[1:], net.rest.hidden, strict=True):
                mine.load_state_dict(theirs.state_dict())
            plain.output.load_state_dict(net.rest.output.state_dict())
        else:
            plain.output.load_state_dict(net.first.state_dict())
    x = torch.randn(4, 3)
    torch.testing.assert_close(net(Plain(x)), plain(x))


def test_latent_mlp_reads_an_action():
    torch.manual_seed(0)
    net = LatentMLP(3, 8, 2, 2, inputs=2)
    x = Plain(torch.randn(4, 3))
    assert not torch.equal(net(x, torch.ones(4, 2)), net(x, torch.zeros(4, 2)))
    with pytest.raises(ValueError, match="action"):
        net(x)


def test_elu_is_torchs_with_and_without_gradients() -> None:
    x = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([-1e-4, -1e-7, 0.0, 1e-7])])
    with torch.no_grad():
        kept = x.clone()
        torch.testing.assert_close(activate("elu", x), torch.nn.functional.elu(x), atol=1e-7, rtol=1e-6)
        assert torch.equal(x, kept)
    leaf = x.clone().requires_grad_()
    activate("elu", leaf).sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, torch.where(x > 0, torch.ones_like(x), x.exp()))


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_of_many_rows_is_aligned_and_the_same(bias):
    """255 bins are computed as 256 where no graph is made: same shape, same numbers."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 71, bias=bias).double()
    x = torch.randn(2, 600, 5, dtype=torch.float64)
    expected = layer(x)
    with torch.no_grad():
        found = affine(layer, x)
        assert found.shape == expected.shape
        assert found.stride(1) == 72
        torch.testing.assert_close(found, expected)
    graphed = affine(layer, x)
    assert graphed.requires_grad
    torch.testing.assert_close(graphed, expected)
