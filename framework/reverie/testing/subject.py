"""What the kit tests: a component with its options and claims, or a plugin with its specs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reverie.errors import PluginError
from reverie.extension.config import Config
from reverie.extension.spec import ComponentSpec, Needs


@dataclass(frozen=True)
class Subject:
    """A component under test.

    Args:
        kind: one of `reverie.extension.spec.KINDS`.
        name: what failures call it.
        target: the class.
        config: its options.
        provides: the capabilities that it claims.
        needs: what it declares to need, options included.
    """

    kind: str
    name: str
    target: Callable[..., Any]
    config: Any
    provides: frozenset[str] = frozenset()
    needs: Needs = field(default_factory=Needs)

    def declares(self, slot: str) -> bool:
        """Whether it says that it needs a slot."""
        return slot in self.needs.slots or slot in self.needs.provides


@dataclass(frozen=True)
class PluginSubject:
    """A plugin under test: its entry module, and the specs that it returns."""

    name: str
    module: str
    specs: tuple[ComponentSpec, ...]
    kind: str = "plugin"
    provides: frozenset[str] = frozenset()


def subject_of(
    kind: str,
    component: str | type[Any],
    *,
    config: Config | Mapping[str, Any] | None = None,
    size: str | None = None,
    provides: Iterable[str] | None = None,
    needs: Needs | None = None,
) -> Subject:
    """The subject for an installed component's name, or for a class that no plugin offers yet.

    Args:
        config: options, as a `Config` or as values for the component's config class; defaults otherwise.
        size: a preset of the config class, below `config`.
        provides, needs: claims, for a class; a named component brings those of its spec.

    Raises:
        LookupFailure: for a name that no installed plugin offers.
        PluginError: for a component whose classes cannot be imported.
        ValueError: for options of a bare class that are not a `Config` or None.
    """
    if isinstance(component, str):
        from reverie.extension.manager import load_plugins

        found = load_plugins().catalogue.get(kind, component)
        options = _options(found.load_config(), config, size)
        spec = found.spec
        return Subject(kind, component, found.load(), options, spec.provides, spec.needs | options.needs())
    if isinstance(config, Mapping):
        raise ValueError("give a config object (or none) with a class; option values need a component's name")
    own = config.needs() if isinstance(config, Config) else Needs()
    return Subject(kind, component.__name__, component, config, frozenset(provides or ()), (needs or Needs()) | own)


def plugin_subject(name: str, specs: Iterable[ComponentSpec] | None = None, module: str | None = None) -> PluginSubject:
    """The subject for an installed plugin's name; with `specs` and `module` for one that is not installed.

    Raises:
        PluginError: if no such plugin is loaded, saying why it failed where it did.
    """
    if specs is not None and module is not None:
        return PluginSubject(name, module, tuple(specs))
    from reverie.extension.manager import load_plugins

    plugins = load_plugins()
    records = plugins.find(name)
    if len(records) != 1 or records[0].state != "loaded":
        found = "; ".join(f"{record.origin}: {record.state} {record.error}" for record in records)
        known = ", ".join(record.name for record in plugins.records)
        raise PluginError(f"no loaded plugin '{name}' to test ({found or f'there are: {known}'})")
    own = [component.spec for component in plugins.catalogue.components() if component.plugin == records[0]]
    return PluginSubject(name, records[0].module, tuple(own))


def resolve(target: str) -> Any:
    """The object behind `"module:name"`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _options(config_class: type[Config], config: Config | Mapping[str, Any] | None, size: str | None) -> Config:
    if isinstance(config, Config):
        return config
    preset = config_class.presets[size] if size else {}
    return config_class(**{**preset, **(config or {})})
