"""Options of the data source `episodes`."""

from pydantic import Field

from reverie import DataConfig


class EpisodesConfig(DataConfig):
    """A folder of `.npz` files, read in the order of their names; `docs/offline.md` describes them."""

    folder: str = Field(min_length=1)
    """Where the episodes lie: a folder with one `.npz` file for each."""
    choices: int | None = Field(default=None, gt=0)
    """How many actions there are to choose from, where actions are whole numbers (0 ... choices - 1)."""
