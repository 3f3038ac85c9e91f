"""Options of the shooting planners."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from reverie import Config, Needs


class ShootingConfig(Config):
    """How candidate plans are made and scored."""

    horizon: int = Field(default=12, gt=0)
    """Steps of a plan, H."""
    candidates: int = Field(default=128, gt=0)
    """Plans scored at once, N."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """Discount per imagined step."""
    bootstrap: bool = False
    """Add the value of the last imagined state (needs a value head)."""
    particles: int | None = Field(default=None, gt=0)
    """Imagined copies of every plan, averaged; null means one, or one per member of an ensemble."""
    risk: float = 0.0
    """Standard deviations over the particles that are subtracted from a plan's score; negative seeks risk."""

    def needs(self) -> Needs:
        return Needs(slots=("heads/value",)) if self.bootstrap else Needs()


class RandomShootingConfig(ShootingConfig):
    """Random shooting."""

    candidates: int = Field(default=512, gt=0)
    """Plans scored, N."""


class CEMConfig(ShootingConfig):
    """The cross-entropy method. The defaults are fast enough to act in real time; `paper` is PlaNet's."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"candidates": 1000, "iterations": 10, "elites": 100, "min_std": 0.0},
    }

    iterations: int = Field(default=4, gt=0)
    """Rounds of scoring and refitting."""
    elites: int = Field(default=16, gt=0)
    """Best plans of a round, to which the next round's distribution is fitted."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of the first round (continuous actions)."""
    min_std: float = Field(default=0.05, ge=0)
    """Smallest standard deviation that refitting may leave (continuous actions). PlaNet has none."""
    min_prob: float = Field(default=0.01, ge=0, lt=1)
    """Share of the uniform distribution in every round (discrete actions)."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the old distribution that survives a refit; PETS uses 0.1, PlaNet 0."""
    warm_start: bool = False
    """Begin with the last plan, shifted by one step (PETS), instead of afresh (PlaNet)."""

    @model_validator(mode="after")
    def _fewer_elites(self) -> Self:
        if self.elites > self.candidates:
            raise ValueError(f"elites ({self.elites}) cannot be more than candidates ({self.candidates})")
        return self
