"""Reverie: swappable parts for world models.

Every name is imported on first use. What a plugin needs to describe itself (`hookimpl`, `ComponentSpec`, `Needs`) and
to report problems with (`Problem`, the errors) is light, `Config` needs pydantic, `load` and `train` need torch, and
`reverie --help` needs none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reverie.dreaming.registry import announce

if TYPE_CHECKING:
    from reverie.api import dream_env, load, real_env, resume, train
    from reverie.errors import EnvironmentFault, NumericalFault, PluginError, Problem, ReverieError
    from reverie.extension.config import ActorConfig, ByObservation, Config, DataConfig, LearnerConfig, PlannerConfig
    from reverie.extension.spec import API_VERSION, ComponentSpec, Needs, hookimpl

__version__ = "0.1.0"
__all__ = [
    "API_VERSION",
    "ActorConfig",
    "ByObservation",
    "ComponentSpec",
    "Config",
    "DataConfig",
    "EnvironmentFault",
    "LearnerConfig",
    "Needs",
    "NumericalFault",
    "PlannerConfig",
    "PluginError",
    "Problem",
    "ReverieError",
    "dream_env",
    "hookimpl",
    "load",
    "real_env",
    "resume",
    "train",
]

_LAZY = {
    "API_VERSION": "reverie.extension.spec",
    "ComponentSpec": "reverie.extension.spec",
    "Needs": "reverie.extension.spec",
    "hookimpl": "reverie.extension.spec",
    "ActorConfig": "reverie.extension.config",
    "ByObservation": "reverie.extension.config",
    "Config": "reverie.extension.config",
    "DataConfig": "reverie.extension.config",
    "LearnerConfig": "reverie.extension.config",
    "PlannerConfig": "reverie.extension.config",
    "EnvironmentFault": "reverie.errors",
    "NumericalFault": "reverie.errors",
    "PluginError": "reverie.errors",
    "Problem": "reverie.errors",
    "ReverieError": "reverie.errors",
    "dream_env": "reverie.api",
    "load": "reverie.api",
    "real_env": "reverie.api",
    "resume": "reverie.api",
    "train": "reverie.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'reverie' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


announce()  # the ids `reverie/Dream-v0` and `reverie/Real-v0`, to Gymnasium when it is there
