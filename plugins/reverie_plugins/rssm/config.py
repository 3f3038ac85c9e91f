"""Options of the RSSM."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import Config


class KL(Config):
    """The divergence between posterior and prior, and the floor under it. Which floor applies is part of the recipe."""

    free: Literal["each", "mean", "element"] = "each"
    """`each` (DreamerV3): two terms, each floored per step. `mean` (DreamerV1, V2): one term, its mean over the batch
    floored. `element` (PlaNet): one term, max(0, KL - free_nats) per step."""
    free_nats: float = Field(default=1.0, ge=0)
    """The floor, in nats summed over all latents. Published: V3 1, V1 and PlaNet 3, V2 0."""
    dyn: float = Field(default=0.5, ge=0)
    """Scale of the term that trains the prior, with `free: each`. 2023 paper 0.5, current code 1."""
    rep: float = Field(default=0.1, ge=0)
    """Scale of the term that trains the posterior, with `free: each`."""
    scale: float = Field(default=1.0, ge=0)
    """Scale of the one term, with `free: mean` or `element`."""
    balance: float | None = Field(default=None, ge=0, le=1)
    """Share of the one term's gradient that trains the prior (V2: 0.8); null gives prior and posterior all of it."""

    @model_validator(mode="after")
    def _balance_needs_one_term(self) -> Self:
        if self.balance is not None and self.free == "each":
            raise ValueError("`balance` splits one term; with `free: each` set `dyn` and `rep` instead")
        return self


class RSSMConfig(Config):
    """Options of the RSSM."""

    latent: Literal["categorical", "gaussian"] = "categorical"
    """Kind of the stochastic state."""
    deter: int = Field(default=64, gt=0)
    """Size of the recurrent (deterministic) state."""
    hidden: int = Field(default=64, gt=0)
    """Units of the layers around the recurrent cell."""
    groups: int | None = Field(default=None, gt=0)
    """Number of categoricals, or of Gaussian numbers, in the stochastic state; null is 8 or 30."""
    classes: int = Field(default=8, gt=1)
    """Classes of each categorical."""
    layers: int = Field(default=1, gt=0)
    """Hidden layers of the posterior, and of the prior unless it has its own number."""
    prior_layers: int | None = Field(default=None, gt=0)
    """Hidden layers of the prior; null takes `layers`. Current V3 has 2, with `layers: 1`."""
    cell: Literal["normalized", "standard"] = "normalized"
    """`normalized`: the GRU of V2 and V3, whose gates pass through `norm` and whose update begins low. `standard`: the
    GRU of PlaNet and V1, as torch and Keras have it."""
    blocks: int = Field(default=1, gt=0)
    """More than 1 (current V3: 8) works on the recurrent state in so many diagonal blocks behind a hidden layer, which
    is normalised instead of the gates: cheap for states that are wide. Divides `deter`."""
    initial: Literal["zeros", "learned"] = "zeros"
    """The state in which an episode begins: `learned` (V3 of 2023) has a trained deterministic part and the prior's
    most likely stochastic one."""
    unimix: float = Field(default=0.01, ge=0, lt=1)
    """Share of the uniform distribution in every categorical, in sampling and in the KL alike."""
    min_std: float = Field(default=0.1, gt=0)
    """Added to the standard deviation of Gaussian latents."""
    norm: Literal["layer", "rms", "none"] = "layer"
    """Normalisation of all layers, the recurrent cell's included."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh", "mish"] = "silu"
    """Activation of all layers but the recurrent cell's."""
    kl: KL = KL()
    """The loss between posterior and prior."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "xs": {"deter": 64, "hidden": 64, "classes": 8},
        "s": {"deter": 128, "hidden": 128, "groups": 16, "classes": 8},
        "m": {"deter": 256, "hidden": 256, "groups": 32, "classes": 16},
        "v1": {"deter": 200, "hidden": 200, "groups": 30},
        "v3_xs": {"deter": 256, "hidden": 256, "groups": 32, "classes": 32},
        "v3_s": {"deter": 512, "hidden": 512, "groups": 32, "classes": 32},
        "v3_m": {"deter": 1024, "hidden": 640, "groups": 32, "classes": 32},
        "v3_l": {"deter": 2048, "hidden": 768, "groups": 32, "classes": 32},
        "v3_xl": {"deter": 4096, "hidden": 1024, "groups": 32, "classes": 32},
        "v3_1m": {"deter": 512, "hidden": 64, "groups": 32, "classes": 4},
        "v3_12m": {"deter": 2048, "hidden": 256, "groups": 32, "classes": 16},
        "v3_25m": {"deter": 3072, "hidden": 384, "groups": 32, "classes": 24},
        "v3_50m": {"deter": 4096, "hidden": 512, "groups": 32, "classes": 32},
        "v3_100m": {"deter": 6144, "hidden": 768, "groups": 32, "classes": 48},
        "v3_200m": {"deter": 8192, "hidden": 1024, "groups": 32, "classes": 64},
        "v3_400m": {"deter": 12288, "hidden": 1536, "groups": 32, "classes": 96},
    }

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.deter % self.blocks:
            raise ValueError(f"`blocks` must divide `deter`: {self.blocks} does not divide {self.deter}")
        if self.blocks > 1 and self.cell == "standard":
            raise ValueError("`cell: standard` has no blocks: leave `blocks` at 1")
        return self

    @property
    def stoch_size(self) -> int:
        """Categoricals or Gaussian numbers in the stochastic state."""
        return self.groups or (8 if self.latent == "categorical" else 30)
