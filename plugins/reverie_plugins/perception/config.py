"""Options of encoders, decoders and objectives."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from reverie import Config, LearnerConfig, Needs

Sizes = Mapping[str, Mapping[str, Any]]

_VECTOR: Sizes = {
    "xs": {"units": 64},
    "s": {"units": 128},
    "m": {"units": 256},
    "v1": {"units": 300, "layers": 3},
    "v3_xs": {"units": 256, "layers": 1},
    "v3_s": {"units": 512, "layers": 2},
    "v3_m": {"units": 640, "layers": 3},
    "v3_l": {"units": 768, "layers": 4},
    "v3_xl": {"units": 1024, "layers": 5},
    "v3_1m": {"units": 64},
    "v3_12m": {"units": 256},
    "v3_25m": {"units": 384},
    "v3_50m": {"units": 512},
    "v3_100m": {"units": 768},
    "v3_200m": {"units": 1024},
    "v3_400m": {"units": 1536},
    "tdmpc2_xs": {"units": 128, "layers": 1},  # TD-MPC2's encoder ends with the layer that its dynamics brings
    "tdmpc2_1m": {"units": 256, "layers": 1, "activation": "mish"},
    "tdmpc2_5m": {"units": 256, "layers": 1, "activation": "mish"},
    "tdmpc2_19m": {"units": 1024, "layers": 2, "activation": "mish"},
    "tdmpc2_48m": {"units": 1792, "layers": 3, "activation": "mish"},
    "tdmpc2_317m": {"units": 4096, "layers": 4, "activation": "mish"},
}
_IMAGE: Sizes = {
    "xs": {"depth": 8},
    "s": {"depth": 16},
    "m": {"depth": 24},
    "v1": {"depth": 32},
    "v3_xs": {"depth": 24},
    "v3_s": {"depth": 32},
    "v3_m": {"depth": 48},
    "v3_l": {"depth": 64},
    "v3_xl": {"depth": 96},
    "v3_1m": {"depth": 4},
    "v3_12m": {"depth": 16},
    "v3_25m": {"depth": 24},
    "v3_50m": {"depth": 32},
    "v3_100m": {"depth": 48},
    "v3_200m": {"depth": 64},
    "v3_400m": {"depth": 96},
}
_BOTH: Sizes = {size: {**_VECTOR[size], **_IMAGE.get(size, {})} for size in _VECTOR}


GRID = 16
"""Images with fewer pixels than this on each side are grids of cells."""


Kind = Literal["layer", "rms", "none"]


class LayersConfig(Config):
    """What all networks here share."""

    norm: Kind = "layer"
    """Normalisation of the hidden layers; in convolutions over the channels of each pixel."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh", "mish"] = "silu"
    """Activation of the hidden layers."""


class TwoNormsConfig(LayersConfig):
    """What encoder and decoder `auto` share."""

    vector_norm: Kind | None = None
    """Normalisation of the layers that read or predict vectors; null: `norm`, as in those of images."""

    def of_vectors(self) -> Self:
        """The options of the part for vectors."""
        return self.model_copy(update={"norm": self.vector_norm or self.norm})


class VectorEncoderConfig(LayersConfig):
    """Options of encoder `vector`."""

    units: int = Field(default=64, gt=0)
    """Units of each layer, and size of the embedding."""
    layers: int = Field(default=2, gt=0)
    """Layers."""
    outputs: int | None = Field(default=None, gt=0)
    """Size of a last linear layer, which is then the embedding's; null ends with the hidden layers. For a dynamics of
    another run whose embedding is a few numbers (`encoder: identity`)."""

    presets: ClassVar[Sizes] = _VECTOR


class ImageEncoderConfig(LayersConfig):
    """Options of encoder `image`."""

    depth: int = Field(default=8, gt=0)
    """Channels of the first convolution; each further one has twice as many. Images of fewer than 16 pixels on each
    side are grids of cells (MinAtar, MiniGrid), read by two dense layers with 16 times as many units."""
    smallest: int = Field(default=4, gt=1)
    """Images are halved while both sides stay at this size or above."""

    presets: ClassVar[Sizes] = _IMAGE


class AutoEncoderConfig(VectorEncoderConfig, ImageEncoderConfig, TwoNormsConfig):
    """Options of encoder `auto`: those of `vector` and `image`; what the observation lacks is ignored."""

    presets: ClassVar[Sizes] = _BOTH


class VectorDecoderConfig(LayersConfig):
    """Options of decoder `vector`."""

    units: int = Field(default=64, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers."""
    vector_scale: float = Field(default=10.0, gt=0)
    """Weight of the squared error of vector entries, summed over their numbers: a normal of variance
    1 / (2 x weight). More than 1 keeps small but decisive numbers above the free nats."""

    presets: ClassVar[Sizes] = _VECTOR


class ImageDecoderConfig(LayersConfig):
    """Options of decoder `image`."""

    depth: int = Field(default=8, gt=0)
    """Channels of the last hidden convolution; each one before has twice as many. Images of fewer than 16 pixels on
    each side come from two dense layers with 16 times as many units."""
    smallest: int = Field(default=4, gt=1)
    """Size at which the grid starts, as in the encoder."""
    image_scale: float = Field(default=1.0, gt=0)
    """Weight of the squared error of images, summed over pixels and channels."""

    presets: ClassVar[Sizes] = _IMAGE


class AutoDecoderConfig(VectorDecoderConfig, ImageDecoderConfig, TwoNormsConfig):
    """Options of decoder `auto`: those of `vector` and `image`; what the observation lacks is ignored."""

    presets: ClassVar[Sizes] = _BOTH


class IdentityEncoderConfig(Config):
    """Options of encoder `identity`: none."""


class IdentityDecoderConfig(Config):
    """Options of decoder `identity`: none."""

    def needs(self) -> Needs:
        """A code that is the observation: nothing may have been learned between."""
        return Needs(provides={"encoder": ("observation",), "dynamics": ("embedding",)})


class ReconstructionConfig(Config):
    """Options of objective `reconstruction`."""

    scale: float = Field(default=1.0, ge=0)
    """Weight of all entries together."""
    decoder: str | None = None
    """Name of a further decoder (`decoders/<name>`); null uses the slot `decoder`."""
    frames: int | None = Field(default=None, gt=0)
    """Where images are predicted: steps of each update that are decoded, split evenly over the rows of the batch and
    chosen anew each time; null decodes all. Decoding pictures is the dearest part of a small model's update, and a
    sample of steps has the same gradient on average."""

    def needs(self) -> Needs:
        return Needs(slots=("decoder" if self.decoder is None else f"decoders/{self.decoder}",))


class OvershootingConfig(Config):
    """Options of objective `overshooting`."""

    scale: float = Field(default=1.0, ge=0)
    """Weight of all entries together; 1 counts a prediction as much as a reconstruction."""
    starts: int = Field(default=4, gt=0)
    """Steps of each chunk, chosen anew each time, from which the model imagines."""
    steps: int = Field(default=15, gt=0)
    """How far it imagines, at most; the chunk's end and the next episode cut it short."""
    mode: Literal["sample", "mode"] = "sample"
    """Whether the latents on the way are drawn or the most likely ones."""
    frames: int | None = Field(default=64, gt=0)
    """Where images are predicted: predictions of each update that are decoded, chosen as in `reconstruction`; null
    decodes all of them, `starts` x `steps` for each row of the batch. Of vectors all are."""

    def needs(self) -> Needs:
        return Needs(slots=("decoder",))


class ContrastiveConfig(Config):
    """Options of objective `contrastive`."""

    scale: float = Field(default=1.0, ge=0)
    """Weight of the loss, which lies between 0 and the logarithm of the number of candidates."""
    source: Literal["state", "prior"] = "state"
    """`state`: the filtered state must recognise its own observation. `prior`: the state predicted from the past and
    the action must recognise the observation that came; episode starts, which nothing predicts, are left out."""
    dim: int = Field(default=64, gt=0)
    """Dimensions of the space in which states and observations are compared."""
    units: int = Field(default=64, gt=0)
    """Units of the hidden layer between a state and that space."""
    temperature: float = Field(default=0.1, gt=0)
    """Cosine similarities are divided by this."""
    neighbours: int = Field(default=0, ge=0)
    """Observations of the same episode within this many steps are not used as wrong answers: they may look the same."""


class EncoderAlignmentConfig(LearnerConfig):
    """Options of the learner `encoder_alignment`."""

    trains: tuple[str, ...] = ("encoder",)
    """The slot that it steps."""
    reaches: tuple[str, ...] = ("dynamics", "heads/reward")
    """What its gradient passes through: the world that is already known."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""
    grad_clip: float | None = Field(default=10.0, gt=0)
    """Largest norm of the gradient; null does not clip it."""
    blur: float = Field(default=1.0, gt=0)
    """Deviation within which a prediction counts as right at first, in units of the embedding's numbers."""
    sharp: float = Field(default=0.05, gt=0)
    """The same at last."""
    updates: int = Field(default=1500, gt=0)
    """Updates over which the one becomes the other, in equal steps."""

    def needs(self) -> Needs:
        """A latent that is the embedding, and rewards."""
        return Needs(slots=("heads/reward",), provides={"dynamics": ("embedding", "differentiable")})
