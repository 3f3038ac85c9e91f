"""Finding and loading plugins, one guarded step at a time: no plugin can stop the command line.

pluggy's own `load_setuptools_entrypoints` has no guard (one broken plugin kills the host) and skips a second plugin of
the same name in silence, so the loop is written here; pluggy does the hook calls.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from reverie.errors import PluginError, Problem
from reverie.extension import hooks
from reverie.extension.catalogue import Catalogue
from reverie.extension.discovery import file_plugins, installed_plugins
from reverie.extension.names import plugin_name_fault
from reverie.extension.report import PluginRecord, describe_exception, format_traceback
from reverie.extension.spec import ENTRY_POINT_GROUP, ComponentSpec
from reverie.extension.validate import Incompatible, Invalid, check_hooks, check_roots, check_specs

if TYPE_CHECKING:
    from reverie.recipes.recipe import Recipe

DISABLE_VARIABLE = "REVERIE_DISABLE_PLUGINS"


@dataclass
class Plugins:
    """The plugins of this process: what was found, what it offers, and the hooks that can be called.

    Args:
        records: every plugin that was found, loaded or not, in the order of loading.
        manager: pluggy's manager, with the loaded plugins registered under their qualified names.
        catalogue: the components of the loaded plugins.
        roots: recipe folders, with the plugin that each came from.
        unmatched: names that were to be blocked and that no plugin has.
    """

    records: list[PluginRecord]
    manager: pluggy.PluginManager
    catalogue: Catalogue
    roots: list[tuple[PluginRecord, Path]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    def recipe_roots(self) -> list[Path]:
        """The folders that hold recipes, without repetitions."""
        return list(dict.fromkeys(path for _, path in self.roots))

    def failures(self) -> list[PluginRecord]:
        """Plugins that could not be loaded though nobody blocked them."""
        return [record for record in self.records if record.state in ("failed", "incompatible")]

    def find(self, name: str) -> list[PluginRecord]:
        """The plugins that `name` or `distribution/name` means: none, one, or several of the same name."""
        return [record for record in self.records if record.answers_to(name)]

    def check_recipe(self, recipe: "Recipe") -> list[Problem]:
        """The problems that plugins find in a recipe (hook `reverie_check_recipe`).

        A plugin whose check raises is itself a problem of a recipe that uses it, and a warning for any other recipe.
        """
        used = {choice.component.plugin.qualified for choice in recipe.choices.values()}
        problems: list[Problem] = []
        for record, call in self._calls("reverie_check_recipe"):
            try:
                found = list(call(recipe=recipe) or ())
                if strange := [item for item in found if not isinstance(item, Problem)]:
                    raise TypeError(f"it returned {strange[0]!r} where a Problem belongs")
                problems += found
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
                fault = _hook_fault(record, "reverie_check_recipe", error)
                if record.qualified in used:
                    problems.append(fault)
                else:
                    warnings.warn(str(fault), RuntimeWarning, stacklevel=2)
        return problems

    def callbacks(self, recipe: "Recipe") -> list[Any]:
        """Lightning callbacks that plugins add to a run (hook `reverie_callbacks`).

        Raises:
            PluginError: if a plugin's hook raises; a run does not begin without what its plugins add to it.
        """
        found: list[Any] = []
        for record, call in self._calls("reverie_callbacks"):
            try:
                found += list(call(recipe=recipe) or ())
            except (Exception, SystemExit) as error:
                raise PluginError(str(_hook_fault(record, "reverie_callbacks", error))) from error
        return found

    def _calls(self, hook: str) -> Iterator[tuple[PluginRecord, Callable[..., Any]]]:
        """Every loaded plugin that has the hook, with a call that reaches only this plugin."""
        for record in self.records:
            plugin = self.manager.get_plugin(record.qualified) if record.state == "loaded" else None
            if plugin is not None and (call := _single(self.manager, plugin, hook)) is not None:
                yield record, call


def load_plugins(disabled: Sequence[str] = (), files: Sequence[Path] = ()) -> Plugins:
    """Load every installed plugin, and the given one-file plugins.

    Args:
        disabled: plugins that are not even imported, by `name` or `distribution/name`; those of the environment
            variable `REVERIE_DISABLE_PLUGINS` (separated by commas) are added.
        files: one-file plugins; each loads as `local.<stem>`.

    Raises:
        PluginError: if a file of `files` does not exist. A plugin that is broken raises nothing: see its record.
    """
    blocked = [*disabled, *filter(None, map(str.strip, os.environ.get(DISABLE_VARIABLE, "").split(",")))]
    loader = _Loader(blocked)
    for record, load in [*installed_plugins(), *file_plugins(files)]:
        loader.add(record, load)
    return loader.finish()


class _Loader:
    """Loads plugins one by one; whatever goes wrong with one ends in its record."""

    def __init__(self, blocked: Sequence[str]) -> None:
        self.blocked = blocked
        self.manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
        self.manager.add_hookspecs(hooks)
        self.records: list[PluginRecord] = []
        self.components: list[tuple[PluginRecord, ComponentSpec]] = []
        self.roots: list[tuple[PluginRecord, Path]] = []

    def add(self, record: PluginRecord, load: Callable[[], Any]) -> None:
        """Load one plugin, unless it is blocked, and record what became of it."""
        if any(record.answers_to(name) for name in self.blocked):
            self.records.append(replace(record, state="blocked"))
            return
        plugin: Any = None
        try:
            _check_name(record, self.records)
            with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints must not spoil `--json`
                plugin = load()
                record = replace(record, file=_file_of(plugin) or record.file)
                self._register(plugin, record)
                specs, roots = self._collect(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # sys.exit() in a plugin must not end the command line
            if plugin is not None and self.manager.get_plugin(record.qualified) is plugin:
                self.manager.unregister(plugin)
            self.records.append(_failed(record, error))
            return
        self.records.append(record)
        self.components += [(record, spec) for spec in specs]
        self.roots += [(record, root) for root in roots]

    def _register(self, plugin: Any, record: PluginRecord) -> None:
        if (earlier := self.manager.get_name(plugin)) is not None:
            raise Invalid(f"its entry point names {record.module}, which is plugin {earlier!r} already")
        self.manager.register(plugin, name=record.qualified)

    def _collect(self, plugin: Any) -> tuple[list[ComponentSpec], list[Path]]:
        check_hooks(self.manager, plugin)
        components = _single(self.manager, plugin, "reverie_components")
        roots = _single(self.manager, plugin, "reverie_recipe_roots")
        return check_specs(components() if components else []), check_roots(roots() if roots else [])

    def finish(self) -> Plugins:
        unmatched = [name for name in self.blocked if not any(record.answers_to(name) for record in self.records)]
        catalogue = Catalogue(self.components, self.records)
        return Plugins(self.records, self.manager, catalogue, self.roots, unmatched)


def _check_name(record: PluginRecord, earlier: Sequence[PluginRecord]) -> None:
    if fault := plugin_name_fault(record.name):
        raise Invalid(fault)
    if same := [other for other in earlier if other.answers_to(record.qualified)]:
        raise Invalid(f"{same[0].origin} has the same name; rename one of them")


def _file_of(plugin: Any) -> str | None:
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(getattr(plugin, "__module__", ""))
    return getattr(module, "__file__", None)


def _single(manager: pluggy.PluginManager, plugin: Any, hook: str) -> Callable[..., Any] | None:
    """The hook as a call that reaches one plugin only, so that an error is known to be its own."""
    caller = getattr(manager.hook, hook)
    if not any(implementation.plugin is plugin for implementation in caller.get_hookimpls()):
        return None
    others = [other for other in manager.get_plugins() if other is not plugin]
    single = manager.subset_hook_caller(hook, remove_plugins=others)
    return lambda **arguments: (single(**arguments) or [None])[0]


def _failed(record: PluginRecord, error: BaseException) -> PluginRecord:
    if isinstance(error, Incompatible):
        return replace(record, state="incompatible", error=str(error))
    if isinstance(error, Invalid | pluggy.PluginValidationError):
        return replace(record, state="failed", error=str(error))
    return replace(record, state="failed", error=describe_exception(error), traceback=format_traceback(error))


def _hook_fault(record: PluginRecord, hook: str, error: BaseException) -> Problem:
    return Problem(
        what=f"the hook {hook} of {record.origin} failed: {describe_exception(error)}",
        fix=f"tell its author, or leave it out with --no-plugin {record.qualified}",
    )
