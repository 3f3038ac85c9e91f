import pytest
import torch

from reverie.nn import ConvDecoder, ConvEncoder
from reverie.nn.conv import halvings

SIZES = [(64, 64), (84, 84), (10, 10), (7, 9), (65, 33), (3, 5), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["layer", "none"])
def test_any_size_goes_in_and_comes_out(size, norm):
    shape = (2, *size)
    encoder, decoder = ConvEncoder(shape, 4, norm=norm), ConvDecoder(11, shape, 4, norm=norm)
    code = encoder(torch.rand(3, 2, *shape))
    assert code.shape == (3, 2, encoder.output_size)
    assert decoder(torch.rand(3, 2, 11)).shape == (3, 2, *shape)


def test_halvings():
    assert halvings(64, 64) == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert halvings(84, 84)[-1] == (5, 5)
    assert halvings(7, 100) == [(7, 100)]


def test_images_of_a_batch_do_not_touch_each_other():
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 16, 16), 4)
    images = torch.rand(4, 1, 16, 16)
    torch.testing.assert_close(encoder(images)[2:3], encoder(images[2:3]))


def test_no_dead_parameters():
    encoder, decoder = ConvEncoder((1, 16, 16), 4), ConvDecoder(encoder_size := 64, (1, 16, 16), 4)
    assert encoder.output_size == 8 * 4 * 4
    (encoder(torch.rand(2, 1, 16, 16)).square().sum() + decoder(torch.rand(2, encoder_size)).square().sum()).backward()
    for net in (encoder, decoder):
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_every_pixel_is_seen_and_drawn():
    """Odd sizes lose no border: the gradient of the sum reaches each pixel, and each pixel depends on the code."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 33, 18, requires_grad=True)
    ConvEncoder((1, 33, 18), 4)(image).square().sum().backward()
    # Rounding down drops at most the last odd row of a later layer, never one of the image.
    assert (image.grad != 0).float().mean() > 0.95
    out = ConvDecoder(5, (1, 33, 18), 4)(torch.randn(2, 5))
    assert ((out[0] - out[1]).abs() > 0).all()
