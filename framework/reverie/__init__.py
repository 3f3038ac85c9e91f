"""Reverie: swappable parts for world models.

What a plugin needs to describe itself (`hookimpl`, `ComponentSpec`, `Needs`, `Config`) is imported at once and is
light; what needs torch (`load`, `train`) is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from reverie.extension.config import ActorConfig, Config, LearnerConfig
from reverie.extension.spec import API_VERSION, ComponentSpec, Needs, hookimpl

if TYPE_CHECKING:
    from reverie.api import load, resume, train

__version__ = "0.1.0"
__all__ = [
    "API_VERSION",
    "ActorConfig",
    "ComponentSpec",
    "Config",
    "LearnerConfig",
    "Needs",
    "hookimpl",
    "load",
    "resume",
    "train",
]

_LAZY = {"load", "train", "resume"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from reverie import api

        return getattr(api, name)
    raise AttributeError(f"module 'reverie' has no attribute {name!r}")
