"""Options of the broken plugins. Imports no torch, so that each plugin is broken in one way only."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from reverie import Config


class Fine(Config):
    """Nothing wrong here."""

    width: int = Field(default=8, gt=0)
    """Units of a layer."""


class NoDefault(Config):
    """Cannot be made without arguments."""

    width: int
    """Units of a layer."""


class Undocumented(Config):
    """An option that nobody explains, inside another one."""

    inner: "Inner" = Field(default_factory=lambda: Inner(width=9))
    """Inner options."""


class Inner(Config):
    """The inner options."""

    width: int = 8


class TakesReservedKey(Config):
    """`size` chooses a preset in every slot."""

    size: int = 8
    """Units of a layer."""


class WrongPreset(Config):
    """A preset with a value that the option refuses."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"xs": {"width": 0}}

    width: int = Field(default=8, gt=0)
    """Units of a layer."""
