"""Components that are broken on purpose: they test the kit, as the kit tests components.

Every check is needed by at least one of them, and each fails exactly the checks that it names (`tests/meta` asserts
both directions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from reverie.extension.spec import ComponentSpec, Needs

C = TypeVar("C", bound=type[Any])


@dataclass(frozen=True)
class Broken:
    """One broken component, or plugin.

    Args:
        kind: its kind, or `"plugin"`.
        name: its class's or plugin's name.
        meant: the check that exists because of it.
        also: further checks that fail by the same mistake.
        target: the class; None for plugins.
        provides, needs: what it claims.
        specs, module: for plugins, what it declares and where it is imported from.
    """

    kind: str
    name: str
    meant: str
    also: frozenset[str] = frozenset()
    target: type[Any] | None = None
    provides: frozenset[str] = frozenset()
    needs: Needs = field(default_factory=Needs)
    specs: tuple[ComponentSpec, ...] = ()
    module: str = ""

    @property
    def fails(self) -> set[str]:
        """All checks that it fails."""
        return {self.meant, *self.also}

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


_found: list[Broken] = []


def breaks(
    kind: str, meant: str, *, also: Sequence[str] = (), provides: Sequence[str] = (), needs: Needs | None = None
) -> Callable[[C], C]:
    """Register a class as broken: the check that is meant for it, and those that fail besides."""

    def register(target: C) -> C:
        claims = frozenset(provides)
        _found.append(Broken(kind, target.__name__, meant, frozenset(also), target, claims, needs or Needs()))
        return target

    return register


def breaks_plugin(name: str, meant: str, module: str, *specs: ComponentSpec, also: Sequence[str] = ()) -> None:
    """Register a broken plugin."""
    _found.append(Broken("plugin", name, meant, frozenset(also), specs=specs, module=module))


def broken_components() -> list[Broken]:
    """All of them."""
    for module in ("broken_dynamics", "broken_planners", "broken_parts", "broken_plugins"):
        import_module(f"reverie.testing.{module}")
    return list(_found)
