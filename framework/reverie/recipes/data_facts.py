"""What a run remembers of the data that it learned from: enough to be used without it, and to tell other data apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from reverie.errors import Problem
from reverie.extension.config import Config

Side = Annotated[int, Field(gt=0, le=2**20)]


class EntryFacts(Config):
    """One entry of the observations."""

    shape: tuple[Side] | tuple[Side, Side, Side]
    """`[size]` of a vector, `[height, width, channels]` of an image."""
    dtype: Literal["float32", "uint8"]
    """Vectors are float32, images uint8."""
    low: float | None = None
    """Least value; null where there is no bound."""
    high: float | None = None
    """Largest value; null where there is no bound."""


class DataFacts(Config):
    """Data as it was when a run took it in. Part of the lock."""

    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    """sha256 of all rows: equal for equal experience, wherever it was read from."""
    episodes: int = Field(gt=0)
    """Episodes, held-out ones included."""
    held_out: int = Field(ge=0)
    """Episodes of these that are kept for metrics."""
    rows: int = Field(ge=0)
    """Rows of all others, first observations included."""
    observation: dict[str, EntryFacts] = Field(min_length=1)
    """The entries of an observation, in order."""
    actions: Literal["continuous", "discrete"]
    """What kind of action was taken."""
    action_size: Side
    """Numbers of a continuous action, or choices of a discrete one."""


def facts_of_lock(lock: Any, where: str) -> tuple[DataFacts | None, list[Problem]]:
    """What a lock's head says of the data; None where it says nothing."""
    said = lock.get("data") if isinstance(lock, Mapping) else None
    if said is None:
        return None, []
    try:
        return DataFacts.model_validate(said), []
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in ("lock", "data", *first["loc"]))
        fix = "use a lock file that a run wrote"
        return None, [Problem(f"{place}: {first['msg']}", where, place, "", fix)]
