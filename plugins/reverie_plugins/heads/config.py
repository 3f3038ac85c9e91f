"""Options of the heads."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import Config

_SIZES: Mapping[str, Mapping[str, Any]] = {
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
    "tdmpc2_xs": {"units": 128, "layers": 2},
    "tdmpc2_1m": {"units": 384, "layers": 2, "activation": "mish"},
    "tdmpc2_5m": {"units": 512, "layers": 2, "activation": "mish"},
    "tdmpc2_19m": {"units": 1024, "layers": 2, "activation": "mish"},
    "tdmpc2_48m": {"units": 1792, "layers": 2, "activation": "mish"},
    "tdmpc2_317m": {"units": 4096, "layers": 2, "activation": "mish"},
}


class HeadConfig(Config):
    """What all heads share: the network."""

    units: int = Field(default=64, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=1, ge=0)
    """Hidden layers."""
    norm: Literal["layer", "rms", "none"] = "layer"
    """Normalisation of the hidden layers."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh", "mish"] = "silu"
    """Activation of the hidden layers."""
    reads: Literal["after", "before_action", "transition"] = "after"
    """`after` reads the state arrived in; `before_action` the state left and the action (a Q value, or the reward of an
    action); `transition` all three."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _SIZES


class TwoHotConfig(HeadConfig):
    """Options of `two_hot`."""

    layers: int = Field(default=2, ge=0)
    """Hidden layers."""
    variant: Literal["symlog_linear", "symexp_spaced"] = "symlog_linear"
    """`symlog_linear`: bins and targets in symlog space (2023). `symexp_spaced`: exponentially spaced bins, targets as
    plain numbers (current code). The two are not interchangeable."""
    bins: int = Field(default=127, ge=2)
    """Number of bins; odd for `symexp_spaced`. Published: 255 in +-20."""
    low: float = -8.0
    """Lowest bin, in symlog space: -8 is about -2980."""
    high: float = 8.0
    """Highest bin, in symlog space: 8 is about 2980. Targets beyond count as the outermost bin."""
    zero_init: bool = True
    """Start with uniform bins, so that the first predictions are 0."""

    @model_validator(mode="after")
    def _bins_fit(self) -> Self:
        if self.low >= self.high:
            raise ValueError("`low` must lie below `high`")
        if self.variant == "symexp_spaced" and (self.low != -self.high or self.bins % 2 == 0):
            raise ValueError("`symexp_spaced` needs `low: -high` and an odd number of `bins`")
        return self


class GaussianConfig(HeadConfig):
    """Options of `gaussian`."""

    std: float = Field(default=1.0, gt=0)
    """The fixed standard deviation; 1 makes the loss half the squared error, plus a constant."""
    symlog: bool = False
    """Predict symlog(x) and answer with its inverse: for numbers of unknown size."""
    zero_init: bool = True
    """Start with predictions of 0."""


class BernoulliConfig(HeadConfig):
    """Options of `bernoulli`."""
