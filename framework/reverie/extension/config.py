"""The base class of every component's options. Defaults live here and nowhere else."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from reverie.extension.spec import Needs


class Config(BaseModel):
    """Options of one component: typed, documented, closed to unknown keys, immutable.

    A subclass documents each field with a docstring below it (or `Field(description=...)`); `reverie check` uses those
    texts. `presets` maps the value of `size` to field values that lie between the defaults and what the recipe says.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def needs(self) -> Needs:
        """Needs that follow from the chosen options; joined with those of the `ComponentSpec`."""
        return Needs()


class ActorConfig(Config):
    """What every actor's options share (nothing yet: the type marks the kind)."""


class LearnerConfig(Config):
    """What every learner's options share: what it trains, what its gradient may reach, which objectives it runs."""

    trains: tuple[str, ...] = ()
    """Slot paths whose parameters this learner steps. Two learners of one stage may not train the same slot."""
    reaches: tuple[str, ...] = ()
    """Further slots that its gradient may enter without training them (they are frozen while its loss is built)."""
    objectives: tuple[str, ...] = ()
    """Names of the objectives (`objectives/<name>`) that this learner runs."""
    grad_clip: float = Field(default=100.0, gt=0)
    """Largest norm of this learner's gradient, over all slots that it trains."""
