"""What a plugin's answers must look like. Every refusal says what was written and what exists."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from reverie.extension.hooks import HOOKS
from reverie.extension.names import component_name_fault, listing, suggest, target_fault
from reverie.extension.spec import API_VERSION, CAPABILITIES, KINDS, ComponentSpec, Needs


class Invalid(Exception):
    """A plugin declared something that cannot be. `str(error)` is the reason."""


class Incompatible(Invalid):
    """A plugin was written for another version of the contracts."""


def check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Refuse a plugin without hooks, or with one that does not exist.

    Raises:
        Invalid: naming the hook and those that exist.
    """
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise Invalid(f"it has no hook; mark its functions with @reverie.hookimpl (hooks: {listing(HOOKS)})")
    for caller in callers:
        optional = all(impl.optionalhook for impl in caller.get_hookimpls() if impl.plugin is plugin)
        if not caller.has_spec() and not optional:
            hint = suggest(caller.name, HOOKS) or f"hooks: {listing(HOOKS)}"
            raise Invalid(f"there is no hook {caller.name!r}; {hint}")


def check_specs(answer: object) -> list[ComponentSpec]:
    """The components that a plugin returned from `reverie_components`.

    Raises:
        Incompatible: if one was written for another API version.
        Invalid: for the first one that is wrong.
    """
    specs: list[ComponentSpec] = []
    for item in _items(answer, "reverie_components"):
        if not isinstance(item, ComponentSpec):
            raise Invalid(f"reverie_components returned {_short(item)} where a ComponentSpec belongs")
        specs.append(item)
    for spec in specs:  # first, since another version may have other kinds and capabilities
        _check_api(spec)
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        _check_spec(spec)
        if (spec.kind, spec.name) in seen:
            raise Invalid(f"it declares {spec.kind} {spec.name!r} twice")
        seen.add((spec.kind, spec.name))
    return specs


def check_roots(answer: object) -> list[Path]:
    """The folders that a plugin returned from `reverie_recipe_roots`.

    Raises:
        Invalid: if one is no absolute path of an existing folder.
    """
    roots: list[Path] = []
    for item in _items(answer, "reverie_recipe_roots"):
        if not isinstance(item, str | os.PathLike):
            raise Invalid(f"reverie_recipe_roots returned {_short(item)} where a path belongs")
        root = Path(item)
        if not root.is_absolute() or not root.is_dir():
            raise Invalid(f"its recipe root {str(root)!r} is not the absolute path of a folder that exists")
        roots.append(root)
    return roots


def _items(answer: object, hook: str) -> list[object]:
    if answer is None:
        return []
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
        raise Invalid(f"{hook} returned {_short(answer)} where a list belongs")
    return list(answer)


def _check_api(spec: ComponentSpec) -> None:
    told = f"its {spec.kind} {spec.name!r} was written for API version {spec.api!r}, this Reverie has {API_VERSION}"
    if isinstance(spec.api, bool) or not isinstance(spec.api, int):
        raise Invalid(f"{told}; the version is a whole number")
    if spec.api == API_VERSION:
        return
    side = "update Reverie" if spec.api > API_VERSION else "update the plugin (or ask its author to)"
    raise Incompatible(f"{told}: {side}")


def _check_spec(spec: ComponentSpec) -> None:
    label = f"component {spec.name!r}"
    if fault := component_name_fault(spec.name):
        raise Invalid(f"a component cannot be called that: {fault}")
    if spec.kind not in list(KINDS):  # a list, since the kind may be anything, even unhashable
        hint = suggest(str(spec.kind), KINDS) or f"kinds: {listing(KINDS)}"
        raise Invalid(f"{label} has the unknown kind {spec.kind!r}; {hint}")
    for what, target in (("target", spec.target), ("config", spec.config)):
        if fault := target_fault(target):
            raise Invalid(f"{label}: its {what} {fault}")
    if not isinstance(spec.summary, str) or not spec.summary.strip():
        raise Invalid(f"{label} has no summary; say in one line what it is")
    if spec.extra is not None and component_name_fault(str(spec.extra).replace("-", "_")):
        raise Invalid(f"{label}: its extra {spec.extra!r} is not the name of a pip extra")
    _check_capabilities(label, "provides", spec.provides)
    _check_needs(label, spec.needs)


def _check_needs(label: str, needs: object) -> None:
    if not isinstance(needs, Needs):
        raise Invalid(f"{label}: its needs are {_short(needs)} where a reverie.Needs belongs")
    for slot in (*_words(label, "needs.slots", needs.slots), *needs.provides):
        if not _is_slot(slot):
            raise Invalid(f"{label} needs {slot!r}, which is no slot path (such as 'decoder' or 'heads/reward')")
    for slot, names in needs.provides.items():
        _check_capabilities(label, f"needs.provides[{slot!r}]", names)


def _check_capabilities(label: str, what: str, names: object) -> None:
    for name in _words(label, what, names):
        if name not in list(CAPABILITIES):
            hint = suggest(str(name), CAPABILITIES) or f"capabilities: {listing(CAPABILITIES)}"
            raise Invalid(f"{label}: {what} has the unknown capability {name!r}; {hint}")


def _words(label: str, what: str, names: object) -> list[object]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise Invalid(f"{label}: {what} is {_short(names)} where a collection of names belongs")
    return list(names)


_SINGLE_SLOTS = frozenset({"env", "encoder", "dynamics", "decoder", "actor", "planner", "external"})
_GROUPS = frozenset({"decoders", "heads", "objectives", "learners"})


def _is_slot(slot: object) -> bool:
    if not isinstance(slot, str):
        return False
    group, slash, name = slot.partition("/")
    return group in _GROUPS and not component_name_fault(name) if slash else slot in _SINGLE_SLOTS


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
