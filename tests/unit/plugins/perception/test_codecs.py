import pytest
import torch

from reverie.contracts import ArraySpec, ObservationSpec, Sampling
from reverie.nn import Norm, nll
from reverie_plugins.perception import config as options
from reverie_plugins.perception.decoder import AutoDecoder, ImageDecoder, VectorDecoder
from reverie_plugins.perception.encoder import AutoEncoder, ImageEncoder, VectorEncoder

ENTRIES = {
    "position": ArraySpec((3,), "float32"),
    "camera": ArraySpec((16, 12, 3), "uint8"),
    "speed": ArraySpec((1,), "float32"),
    "wrist": ArraySpec((16, 12, 1), "uint8"),
    "map": ArraySpec((10, 10, 2), "uint8"),
    "grid": ArraySpec((2, 2), "float32"),
}
MIXED = ObservationSpec(ENTRIES)
VECTORS = ObservationSpec(MIXED.vectors)
IMAGES = ObservationSpec(MIXED.images)
SPACES = {"mixed": MIXED, "vectors": VECTORS, "images": IMAGES}


def observe(spec: ObservationSpec, *batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(*batch, *entry.model_shape, generator=generator) for key, entry in spec.items()}


@pytest.mark.parametrize("name", SPACES)
def test_auto_reads_and_predicts_every_entry(name):
    spec = SPACES[name]
    torch.manual_seed(0)
    encoder = AutoEncoder(options.AutoEncoderConfig(units=8, depth=2), spec)
    decoder = AutoDecoder(options.AutoDecoderConfig(units=8, depth=2), encoder.embed_size, spec)
    obs = observe(spec, 2, 3)
    embed = encoder(obs, Sampling())
    assert embed.shape == (2, 3, encoder.embed_size)
    predictions = decoder(embed)
    assert list(predictions) == list(spec)
    loss = 0
    for key, prediction in predictions.items():
        assert (prediction.batch_shape, prediction.event_shape) == ((2, 3), spec[key].model_shape)
        loss = loss + nll(prediction, obs[key]).mean()
    loss.backward()
    for module in (encoder, decoder):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("key", list(ENTRIES))
def test_the_embedding_depends_on_every_entry(key):
    torch.manual_seed(0)
    encoder = AutoEncoder(options.AutoEncoderConfig(units=8, depth=2), MIXED)
    obs = observe(MIXED, 4)
    changed = {**obs, key: 1 - obs[key]}
    assert not torch.equal(encoder(obs, Sampling()), encoder(changed, Sampling()))


def test_vector_and_image_codecs_look_at_their_own_entries_only():
    torch.manual_seed(0)
    obs = observe(MIXED, 4)
    vector = VectorEncoder(options.VectorEncoderConfig(units=8), MIXED)
    image = ImageEncoder(options.ImageEncoderConfig(depth=2), MIXED)
    assert torch.equal(vector(obs, Sampling()), vector({**obs, "camera": 1 - obs["camera"]}, Sampling()))
    assert torch.equal(image(obs, Sampling()), image({**obs, "speed": 1 - obs["speed"]}, Sampling()))
    assert set(VectorDecoder(options.VectorDecoderConfig(units=8), 5, MIXED)(torch.rand(4, 5))) == set(VECTORS)
    assert set(ImageDecoder(options.ImageDecoderConfig(depth=2), 5, MIXED)(torch.rand(4, 5))) == set(IMAGES)


def test_images_of_one_size_share_convolutions():
    encoder = ImageEncoder(options.ImageEncoderConfig(depth=2), IMAGES)
    assert encoder.keys == [["camera", "wrist"], ["map"]]


@pytest.mark.parametrize(("side", "dense"), [((10, 10), True), ((7, 7), True), ((15, 1), True), ((16, 15), False)])
def test_grids_of_few_cells_go_through_dense_layers(side, dense):
    """Two hidden layers of 16 x depth units on either way, whose weights can be counted."""
    spec = ObservationSpec({"image": ArraySpec((*side, 3), "uint8")})
    encoder = ImageEncoder(options.ImageEncoderConfig(depth=2, norm="none"), spec)
    decoder = ImageDecoder(options.ImageDecoderConfig(depth=2, norm="none"), 5, spec)
    numbers = side[0] * side[1] * 3
    counted = [sum(parameter.numel() for parameter in part.parameters()) for part in (encoder, decoder)]
    expected = [(numbers + 1) * 32 + 33 * 32, 6 * 32 + 33 * 32 + 33 * numbers]
    assert (counted == expected) == dense
    assert (encoder.embed_size == 32) == dense


def test_a_grid_is_decoded_cell_by_cell():
    """What the last layer says about each cell lands in that cell: channel, row, column."""
    spec = ObservationSpec({"image": ArraySpec((4, 3, 2), "uint8")})
    decoder = ImageDecoder(options.ImageDecoderConfig(depth=1), 5, spec)
    output = decoder.nets[0].net.output
    with torch.no_grad():
        output.weight.zero_()
        output.bias.copy_(torch.arange(24.0))
    mean = decoder(torch.rand(7, 5))["image"].mean
    assert torch.equal(mean, torch.sigmoid(torch.arange(24.0)).reshape(2, 4, 3).expand(7, 2, 4, 3))


def norms(module):
    return [part.kind for part in module.modules() if isinstance(part, Norm)]


@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
def test_vectors_may_have_a_norm_of_their_own(kind):
    """`vector_norm` is what `norm` is for a part that reads or predicts vectors alone, and images keep theirs."""
    own = {"units": 8, "depth": 2, "vector_norm": kind}
    for both, vector, image in (
        (
            AutoEncoder(options.AutoEncoderConfig(**own), MIXED),
            VectorEncoder(options.VectorEncoderConfig(norm=kind), MIXED),
            ImageEncoder(options.ImageEncoderConfig(depth=2), MIXED),
        ),
        (
            AutoDecoder(options.AutoDecoderConfig(**own), 5, MIXED),
            VectorDecoder(options.VectorDecoderConfig(norm=kind), 5, MIXED),
            ImageDecoder(options.ImageDecoderConfig(depth=2), 5, MIXED),
        ),
    ):
        assert [norms(part) for part in both.parts] == [norms(vector), norms(image)]
        assert kind in norms(both)
        assert "layer" in norms(image)
    assert norms(AutoEncoder(options.AutoEncoderConfig(norm="rms"), MIXED).parts[0]) == ["rms", "rms"]


def test_nothing_to_read_is_refused():
    with pytest.raises(ValueError, match="'camera'"):
        VectorEncoder(options.VectorEncoderConfig(), IMAGES)
    with pytest.raises(ValueError, match="'position'"):
        ImageDecoder(options.ImageDecoderConfig(), 5, VECTORS)
    with pytest.raises(ValueError, match="no entries"):
        AutoEncoder(options.AutoEncoderConfig(), ObservationSpec({}))


def test_images_are_predicted_within_bounds():
    decoder = ImageDecoder(options.ImageDecoderConfig(depth=2), 5, IMAGES)
    for prediction in decoder(100 * torch.randn(4, 5)).values():
        assert prediction.mean.min() >= 0
        assert prediction.mean.max() <= 1


def test_image_losses_are_summed_over_pixels_and_vectors_over_numbers():
    """Note 7, by hand: a grey prediction is wrong by 1/2 in each of 16 x 12 x 3 numbers of a black image."""
    torch.manual_seed(0)
    decoder = AutoDecoder(options.AutoDecoderConfig(units=8, depth=2, vector_scale=10.0, image_scale=2.0), 5, MIXED)
    for parameter in decoder.parameters():
        torch.nn.init.zeros_(parameter)
    predictions = decoder(torch.rand(2, 5))
    black = torch.zeros(2, 3, 16, 12)
    torch.testing.assert_close(nll(predictions["camera"], black), torch.full((2,), 2.0 * 16 * 12 * 3 / 4))
    ones = torch.ones(2, 3)
    torch.testing.assert_close(nll(predictions["position"], ones), torch.full((2,), 30.0))


@pytest.mark.parametrize(
    "config",
    [
        options.VectorEncoderConfig,
        options.ImageEncoderConfig,
        options.AutoEncoderConfig,
        options.VectorDecoderConfig,
        options.ImageDecoderConfig,
        options.AutoDecoderConfig,
    ],
)
def test_presets_are_valid(config):
    assert "xs" in config.presets
    for preset in config.presets.values():
        config(**preset)
