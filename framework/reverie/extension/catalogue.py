"""The catalogue of components: lookup, suggestions, and what to do about a name that is not there."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reverie.errors import PluginError, Problem, ReverieError
from reverie.extension.known import KNOWN_PLUGINS, KnownPlugin, install_hint
from reverie.extension.names import canonical, listing, matches, suggest
from reverie.extension.report import PluginRecord, describe_exception
from reverie.extension.spec import KINDS, ComponentSpec

if TYPE_CHECKING:
    from reverie.extension.config import Config

_CONTRACTS = {
    "env": "EnvironmentFactory",
    "data": "DataSource",
    "encoder": "Encoder",
    "dynamics": "Dynamics",
    "decoder": "Decoder",
    "head": "Head",
    "objective": "Objective",
    "actor": "Actor",
    "planner": "Planner",
    "learner": "Learner",
    "external": "ExternalLearner",
}


class LookupFailure(ReverieError):
    """No component, or more than one, has the name that was asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True)
class Component:
    """One component of one plugin. Its classes are imported by `load` and `load_config`, not before.

    Args:
        spec: what the plugin declared.
        plugin: the plugin that declared it.
        ambiguous: another plugin has a component of this kind and name.
    """

    spec: ComponentSpec
    plugin: PluginRecord
    ambiguous: bool = False

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def qualified(self) -> str:
        """`dist/name`, which means this component whatever else is installed."""
        return f"{self.plugin.distribution}/{self.spec.name}"

    @property
    def reference(self) -> str:
        """What a recipe must write: the plain name, or `dist/name` where the plain name is taken twice."""
        return self.qualified if self.ambiguous else self.spec.name

    def __str__(self) -> str:
        return f"{self.spec.kind} {self.spec.name!r} ({self.plugin.origin})"

    def load(self) -> type[Any]:
        """Import the component's class.

        Raises:
            PluginError: if it cannot be imported, does not exist, or is not of its kind; with the missing extra's pip
                line where that is the reason.
        """
        found = self._resolve(self.spec.target, "target")
        contract = getattr(importlib.import_module("reverie.contracts"), _CONTRACTS[self.spec.kind])
        if not issubclass(found, contract):
            raise self._error(
                f"its target {self.spec.target!r} is no reverie.contracts.{contract.__name__}",
                f"make {found.__name__} a subclass of it",
            )
        return found

    def load_config(self) -> "type[Config]":
        """Import the component's config class.

        Raises:
            PluginError: if it cannot be imported, does not exist, or is not a `reverie.Config`.
        """
        from reverie.extension.config import Config, LearnerConfig

        found = self._resolve(self.spec.config, "config")
        base = LearnerConfig if self.spec.kind == "learner" else Config
        if not issubclass(found, base):
            raise self._error(
                f"its config {self.spec.config!r} is no reverie.{base.__name__}",
                f"make {found.__name__} a subclass of it",
            )
        return found

    def _resolve(self, target: str, what: str) -> type[Any]:
        module_name, _, attribute = target.partition(":")
        module = self._import(module_name, what)
        found = getattr(module, attribute, None)
        if isinstance(found, type):
            return found
        classes = [name for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
        if found is not None:
            raise self._error(f"its {what} {target!r} is not a class but {type(found).__name__}", "name a class")
        hint = suggest(attribute, classes) or f"classes there: {listing(classes)}"
        raise self._error(f"its {what} {target!r} does not exist: {module_name} has no {attribute!r}", hint)

    def _import(self, module: str, what: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise self._error(f"its {what} cannot be imported: {error}", self._import_fix(error, module)) from error
        except (Exception, SystemExit) as error:
            reason = describe_exception(error)
            raise self._error(f"importing its {what} {module} failed: {reason}", "see --debug") from error

    def _import_fix(self, error: ImportError, module: str) -> str:
        missing = error.name or ""
        if hint := install_hint(missing, distribution=self.plugin.distribution, extra=self.spec.extra):
            return hint
        if missing and (module == missing or module.startswith(f"{missing}.")):
            return f"the plugin names a module that does not exist; correct {module!r} in its ComponentSpec"
        return f"install {missing.partition('.')[0]!r}" if missing else ""

    def _error(self, what: str, fix: str) -> PluginError:
        return PluginError(str(Problem(what=f"{self}: {what}", fix=fix)))


class Catalogue:
    """All components of all loaded plugins.

    Args:
        components: those of loaded plugins, in the order of the plugins.
        records: all plugins, those that did not load included, so that a miss can say why.
        known: plugins that exist elsewhere.
    """

    def __init__(
        self,
        components: Iterable[tuple[PluginRecord, ComponentSpec]],
        records: Sequence[PluginRecord] = (),
        known: Sequence[KnownPlugin] = KNOWN_PLUGINS,
    ) -> None:
        pairs = list(components)
        counts: dict[tuple[str, str], int] = {}
        for _, spec in pairs:
            counts[spec.kind, spec.name] = counts.get((spec.kind, spec.name), 0) + 1
        self._components = [Component(spec, plugin, counts[spec.kind, spec.name] > 1) for plugin, spec in pairs]
        self._records = list(records)
        self._known = list(known)

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

    def components(self, kind: str | None = None) -> list[Component]:
        """Those of one kind, or all, grouped by kind in the order of `KINDS`, then by name."""
        order = list(KINDS)
        chosen = [component for component in self._components if kind is None or component.kind == kind]
        return sorted(chosen, key=lambda component: (order.index(component.kind), component.name, component.qualified))

    def names(self, kind: str) -> list[str]:
        """What a recipe may write for this kind, sorted: plain names, or `dist/name` where two share one."""
        return sorted(component.reference for component in self._components if component.kind == kind)

    def conflicts(self) -> list[Problem]:
        """One problem per kind and name that several plugins declare."""
        groups: dict[tuple[str, str], list[Component]] = {}
        for component in self.components():
            groups.setdefault((component.kind, component.name), []).append(component)
        return [_conflict(same) for same in groups.values() if len(same) > 1]

    def get(self, kind: str, name: str) -> Component:
        """The component of a kind, by its name or `dist/name`.

        Raises:
            LookupFailure: if there is none, or if the plain name is taken by several plugins.
        """
        if kind not in KINDS:
            raise LookupFailure(
                Problem(
                    what=f"there is no kind of component called {kind!r}",
                    fix=suggest(kind, KINDS) or f"kinds: {listing(KINDS)}",
                )
            )
        distribution, slash, plain = name.rpartition("/")
        found = [
            component
            for component in self._components
            if component.kind == kind
            and component.name == plain
            and (not slash or canonical(component.plugin.distribution) == canonical(distribution))
        ]
        if len(found) == 1:
            return found[0]
        raise LookupFailure(_conflict(found) if found else self._missing(kind, name))

    def _missing(self, kind: str, name: str) -> Problem:
        plain = name.rpartition("/")[2]
        fixes = [
            self._known_fix(kind, name),
            suggest(name, [*self.names(kind), *self._qualified_like(kind, plain)]),
            self._other_kind(kind, plain),
        ]
        there = f"{kind} components: {listing(self.names(kind))}"
        unavailable = [record for record in self._records if record.state != "loaded" and not self._is_known(record)]
        why = ""
        if unavailable and not fixes[0]:
            plugins = ", ".join(f"{record.name!r} ({record.state})" for record in unavailable)
            why = f"it may be in a plugin that is not loaded: {plugins}; see `reverie plugins doctor`"
        fix = "; ".join([*filter(None, fixes), there])
        return Problem(what=f"there is no {kind} called {name!r}", why=why, fix=fix)

    def _qualified_like(self, kind: str, plain: str) -> list[str]:
        return [
            component.qualified for component in self._components if (component.kind, component.name) == (kind, plain)
        ]

    def _other_kind(self, kind: str, plain: str) -> str:
        kinds = [component.kind for component in self._components if component.name == plain and component.kind != kind]
        return f"{plain!r} is a component of another kind: {', '.join(dict.fromkeys(kinds))}" if kinds else ""

    def _known_fix(self, kind: str, name: str) -> str:
        distribution, slash, plain = name.rpartition("/")
        for known in self._known:
            if slash and canonical(distribution) != canonical(known.distribution):
                continue
            if known.has(kind, plain):
                return self._known_state(known, plain)
        return ""

    def _is_known(self, record: PluginRecord) -> bool:
        """Whether what it holds is known without loading it (so that it is no suspect for other names)."""
        return any(record.answers_to(f"{known.distribution}/{known.name}") for known in self._known)

    def _known_state(self, known: KnownPlugin, plain: str) -> str:
        whose = f"{plain!r} belongs to plugin {known.name!r} of {known.distribution}"
        record = next((one for one in self._records if one.answers_to(f"{known.distribution}/{known.name}")), None)
        if record is None:
            return f"{whose}, which is not installed: {known.install}"
        if record.state == "blocked":
            return f"{whose}, which is blocked: remove it from --no-plugin or REVERIE_DISABLE_PLUGINS"
        return f"{whose}, which could not be loaded: {record.error} (see `reverie plugins doctor`)"

    def complete(self, kind: str, start: str) -> list[str]:
        """Names of a kind that `start` may become, or be a misspelling of."""
        names = self.names(kind)
        return [name for name in names if name.startswith(start)] or matches(start, names)


def _conflict(found: Sequence[Component]) -> Problem:
    first = found[0]
    owners = " and ".join(component.plugin.origin for component in found)
    what = f"{len(found)} plugins have a {first.kind} called {first.name!r}: {owners}"
    written = list(dict.fromkeys(component.qualified for component in found))
    if len(written) == len(found):
        return Problem(what=what, fix=f"write {' or '.join(repr(name) for name in written)} to say which is meant")
    plugins = " or ".join(f"--no-plugin {component.plugin.qualified}" for component in found)
    return Problem(what=what, fix=f"block all but one: {plugins}")
