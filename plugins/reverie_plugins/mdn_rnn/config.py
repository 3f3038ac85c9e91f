"""Options of the MDN-RNN."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import Config


class MDNRNNConfig(Config):
    """Options of the MDN-RNN."""

    hidden: int = Field(default=64, gt=0)
    """Units of the LSTM. Paper: 256 for CarRacing, 512 for Doom."""
    components: int = Field(default=5, gt=0)
    """Normals in the mixture of each number of the code (paper: 5)."""
    predicts: Literal["next", "change"] = "next"
    """What the mixture is about: the `next` code (paper), or its `change`, which is easier to learn where a code moves
    a little at every step."""
    features: Literal["z_and_h", "z"] = "z_and_h"
    """What heads, actors and critics read: the code and the LSTM's output, or the code alone (the paper's comparison
    "V model": a controller without memory)."""
    min_log_std: float = -7.0
    """Lower bound of the logarithm of every standard deviation."""
    max_log_std: float = 3.0
    """Upper bound of the logarithm of every standard deviation."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"hidden": 64},
        "paper": {"hidden": 256},
    }

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_log_std >= self.max_log_std:
            raise ValueError("`min_log_std` must lie below `max_log_std`")
        return self
