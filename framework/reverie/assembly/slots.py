"""Modules by name, and slot paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModuleMap(nn.Module, Mapping[str, M], Generic[M]):
    """Submodules by any name.

    Unlike `nn.ModuleDict` it takes names that are also methods of a mapping (`values`) and names with dots, which are
    legal entries of an observation.
    """

    def __init__(self, modules: Mapping[str, M] | None = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self.put(name, module)

    def put(self, name: str, module: M) -> None:
        """Add or replace one module."""
        self._modules[_escaped(name)] = module

    def __getitem__(self, name: str) -> M:
        return cast(M, self._modules[_escaped(name)])

    def __iter__(self) -> Iterator[str]:
        return iter([name.replace("%2E", ".").replace("%25", "%") for name in self._modules])

    def __len__(self) -> int:
        return len(self._modules)

    # A mapping compares by content and cannot be hashed; a module is itself.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def _escaped(name: str) -> str:
    """Without dots, at which `load_state_dict` takes names apart."""
    return name.replace("%", "%25").replace(".", "%2E")


def state_prefix(slot: str) -> str:
    """The prefix of a slot's tensors in `Agent.state_dict()`: `heads/reward` -> `heads.reward.`."""
    return slot.replace("/", ".", 1) + "."
