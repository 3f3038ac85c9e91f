"""Options of the actor and of the planner that uses it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import ActorConfig, Config


class MLPActorConfig(ActorConfig):
    """Options of the actor."""

    units: int = Field(default=64, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers."""
    norm: Literal["layer", "rms", "none"] = "layer"
    """Normalisation of the hidden layers."""
    activation: Literal["silu", "relu", "elu", "gelu", "tanh", "mish"] = "silu"
    """Activation of the hidden layers."""
    unimix: float = Field(default=0.01, ge=0, lt=1)
    """Discrete actions: share of the uniform distribution, so that no action dies out."""
    distribution: Literal["normal", "tanh_normal"] = "normal"
    """Continuous actions. `normal`: around a tanh, drawn beyond the bounds, clipped where it is executed (DreamerV3).
    `tanh_normal`: squashed, never beyond the bounds (DreamerV1)."""
    min_std: float = Field(default=0.1, gt=0)
    """Continuous actions: smallest standard deviation."""
    max_std: float = Field(default=1.0, gt=0)
    """Continuous actions: largest standard deviation, unless `init_std` is given."""
    init_std: float | None = Field(default=None, gt=0)
    """Continuous actions: the first standard deviation, which then knows no upper bound (V1: 5, with `min_std: 1e-4`);
    null keeps it between `min_std` and `max_std`."""
    mean_scale: float | None = Field(default=None, gt=0)
    """`tanh_normal`: the mean before the squashing stays within plus and minus this (V1: 5); null does not bound it."""
    output_scale: float = Field(default=0.01, ge=0)
    """Scale of the last layer's initial variance: small, so that the first policy is nearly the same everywhere."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
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
    }

    @model_validator(mode="after")
    def _deviations_ordered(self) -> Self:
        if self.init_std is None and self.min_std > self.max_std:
            raise ValueError("`min_std` must not exceed `max_std`")
        if self.init_std is not None and self.min_std >= self.init_std:
            raise ValueError("`init_std` must exceed `min_std`, which is added to it")
        if self.mean_scale is not None and self.distribution != "tanh_normal":
            raise ValueError("`mean_scale` is for `distribution: tanh_normal`; the mean of `normal` is a tanh already")
        return self


class ActorPlannerConfig(Config):
    """The planner `actor` has no options: the actor's are in the slot `actor`."""
