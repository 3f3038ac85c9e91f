"""The ids `reverie/Dream-v0` and `reverie/Real-v0`: known to Gymnasium as soon as it and `reverie` are both imported.

Gymnasium has no entry points for environments any more, and `import reverie` must not import Gymnasium: so whichever of
the two comes first, the ids are registered when the other one comes.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WAITED_FOR = "gymnasium.envs"
"""The module after whose import ids can be registered."""


def announce() -> None:
    """Register the ids now, or when Gymnasium is imported."""
    if WAITED_FOR in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _AfterGymnasium())  # no base class: importlib.abc is slow


def register() -> None:
    """Tell Gymnasium the ids; only the environments themselves import torch."""
    from gymnasium.envs.registration import register as register_id
    from gymnasium.envs.registration import registry

    if "reverie/Dream-v0" not in registry:
        register_id(
            "reverie/Dream-v0",
            entry_point="reverie.dreaming.env:DreamEnv",
            vector_entry_point="reverie.dreaming.vector:DreamVectorEnv",
        )
        register_id("reverie/Real-v0", entry_point="reverie.dreaming.real:RealEnv")


class _AfterGymnasium:
    """Lets the other finders find Gymnasium, once, and registers the ids when it has been loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != WAITED_FOR:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(spec.loader)  # type: ignore[assignment]
        return spec


class _Registering:
    """Another loader, and the registration after it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # as if nobody had been there
        self._loader.exec_module(module)
        register()
