"""Reverie: swappable parts for world models.

What a plugin needs to describe itself (`hookimpl`, `ComponentSpec`, `Needs`) is imported at once and is light; what
needs pydantic (`Config`) or torch (`load`, `train`) is imported on first use, so that `reverie --help` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reverie.extension.spec import API_VERSION, ComponentSpec, Needs, hookimpl

if TYPE_CHECKING:
    from reverie.api import load, resume, train
    from reverie.extension.config import ActorConfig, Config, LearnerConfig

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

_LAZY = {
    "ActorConfig": "reverie.extension.config",
    "Config": "reverie.extension.config",
    "LearnerConfig": "reverie.extension.config",
    "load": "reverie.api",
    "resume": "reverie.api",
    "train": "reverie.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'reverie' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
