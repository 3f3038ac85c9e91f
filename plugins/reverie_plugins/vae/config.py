"""Options of the autoencoder's three parts."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from reverie import Config, Needs


class NetworkConfig(Config):
    """What encoder and decoder share: their networks."""

    layout: Literal["halving", "paper"] = "halving"
    """Convolutions. `halving`: kernel 4, stride 2, for images of any size. `paper`: those of World Models (appendix
    A.1), without padding and for 64 x 64 only: 31, 14, 6, 2 and back over 5, 13, 30."""
    depth: int = Field(default=8, gt=0)
    """Channels of the convolution next to the picture; each further one has twice as many. Paper: 32."""
    smallest: int = Field(default=4, gt=1)
    """`halving`: images are halved while both sides stay at this size or above."""
    units: int = Field(default=64, gt=0)
    """Units of each layer for vector entries."""
    layers: int = Field(default=2, gt=0)
    """Layers for vector entries."""
    norm: Literal["layer", "rms", "none"] = "none"
    """Normalisation of the hidden layers; the paper has none. `layout: paper` ignores it."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh"] = "relu"
    """Activation of the hidden layers."""


class VAEEncoderConfig(NetworkConfig):
    """Options of encoder `vae`."""

    latent: int = Field(default=16, gt=0)
    """Numbers in the code z. Paper: 32 for CarRacing, 64 for Doom."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"latent": 8, "depth": 8, "norm": "layer", "activation": "silu"},
        "paper": {"latent": 32, "depth": 32, "layout": "paper"},
    }


class VAEDecoderConfig(NetworkConfig):
    """Options of decoder `vae`."""

    image_scale: float = Field(default=1.0, gt=0)
    """Weight of the squared error of images, summed over pixels and channels (a normal of variance 1 / (2 x weight)).
    Paper: 1. More than 1 sharpens small things at the price of a less regular code."""
    vector_scale: float = Field(default=10.0, gt=0)
    """Weight of the squared error of vector entries, summed over their numbers."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"depth": 8, "norm": "layer", "activation": "silu", "image_scale": 10.0},
        "paper": {"depth": 32, "layout": "paper"},
    }


class VAELossConfig(Config):
    """Options of objective `vae`."""

    free: float = Field(default=0.5, ge=0)
    """Nats per number of the code that cost nothing: the KL of an observation counts as max(KL, free x size of z), as
    in the paper's code (`kl_tolerance`). 0 is the plain evidence lower bound."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the KL."""
    decoder: str | None = None
    """Name of a further decoder (`decoders/<name>`) that reads the embedding; null uses the slot `decoder`."""

    def needs(self) -> Needs:
        return Needs(slots=("decoder" if self.decoder is None else f"decoders/{self.decoder}",))
