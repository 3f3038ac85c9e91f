"""Options of the ensemble."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from reverie import Config


class EnsembleConfig(Config):
    """Options of `ensemble`. In the words of the paper the default is PE (probabilistic ensemble) with TS-infinity."""

    members: int = Field(default=5, gt=0, le=1000)
    """Networks. 1 is no ensemble: the paper's P, or D with `probabilistic: false`."""
    units: int = Field(default=64, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers of each member."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh"] = "silu"
    """Activation of the hidden layers (PETS: silu, which it calls swish)."""
    probabilistic: bool = True
    """Each member predicts a mean and a variance for each number, and is trained by their likelihood. False predicts
    the mean alone, trained by half the squared error, and nothing is drawn."""
    propagation: Literal["ts1", "tsinf"] = "tsinf"
    """Which member predicts the next step of an imagined trajectory. `tsinf`: the same one all along, so that what
    members disagree about stays apart from noise. `ts1`: one that is drawn anew for each step (where latents are drawn;
    with their most likely values the member is kept)."""
    bootstrap: bool = True
    """Each member is trained on a data set of its own, drawn from the replay with replacement: how often it holds a
    step follows from the step's id. One member sees everything."""
    bound_scale: float = Field(default=0.01, ge=0)
    """Weight of the distance between the learned upper and lower bounds of the logarithm of the variance."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "xs": {"units": 64},
        "s": {"units": 128},
        "m": {"units": 256},
        "pets": {"units": 200, "layers": 3},
    }
