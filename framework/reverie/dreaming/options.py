"""How to dream: what may be chosen, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from reverie.errors import ReverieError

Observation = Literal["decoded", "latent"]
Start = Literal["replay", "environment", "model"]
Termination = Literal["sample", "threshold", "never"]


@dataclass(frozen=True)
class DreamOptions:
    """Options of a dream.

    Args:
        temperature: of what the model draws, above 0. Above 1 the dream is wilder than the model believes, below 1
            tamer. It reaches the latent state, not the predicted end.
        observation: `decoded` shows what the decoder makes of the state, in the environment's own units; `latent` the
            features that actors and heads read.
        start: `replay` begins at a random row of the run's replay after the model has seen the rows before it,
            `environment` at a first observation of the real environment, `model` where the model itself begins.
        termination: how the predicted chance to go on ends episodes: `sample` throws a coin with that chance,
            `threshold` ends where it falls below `threshold`, `never` leaves all ends to the time limit.
        threshold: of `termination: threshold`.
        time_limit: steps after which an episode is truncated; None takes the real environment's limit, or 1,000.
        context: rows of the replay that the model sees before it dreams.

    Raises:
        ReverieError: for a value that none of this allows.
    """

    temperature: float = 1.0
    observation: Observation = "decoded"
    start: Start = "replay"
    termination: Termination = "sample"
    threshold: float = 0.5
    time_limit: int | None = None
    context: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ReverieError(f"a dream's temperature must be above 0, not {self.temperature}; 1 is the model's own")
        for name, allowed in (("observation", Observation), ("start", Start), ("termination", Termination)):
            if getattr(self, name) not in get_args(allowed):
                choices = ", ".join(get_args(allowed))
                raise ReverieError(f"{name} of a dream is one of {choices}, not {getattr(self, name)!r}")
        if not 0 < self.threshold < 1:
            raise ReverieError(f"the threshold of a predicted end lies between 0 and 1, not at {self.threshold}")
        for name, value in (("time_limit", self.time_limit), ("context", self.context)):
            if value is not None and value < 1:
                raise ReverieError(f"{name} of a dream is at least 1 step, not {value}")
