"""The chain of files behind a recipe, read before Hydra composes it: every bad choice is found, not only the first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reverie.errors import Problem
from reverie.extension.names import suggest
from reverie.recipes.defaults import Entry, entries
from reverie.recipes.locate import Document, printable, read_document
from reverie.recipes.roots import Roots
from reverie.recipes.slots import NAMED, OPTION, SINGLE, TOP_LEVEL, KeyPath, key_of, kind_of, look, slots_in

LONGEST_CHAIN = 16


class Lookup(Protocol):
    """What the chain asks the catalogue: is there such a component, and if not, what to say about it."""

    def __call__(self, kind: str, name: str) -> Problem | None: ...


@dataclass(frozen=True)
class Decision:
    """What a file puts into a slot: a component or option, a finished run, or nothing (all None)."""

    value: str | None
    where: str
    run: str | None = None
    by_name: bool = False
    """Written as a `name:` in a body, which is always a component and never a file."""

    def same(self, other: "Decision") -> bool:
        return (self.value, self.run) == (other.value, other.run)

    def __str__(self) -> str:
        return f"the run {printable(self.run)}" if self.run else str(self.value or "nothing")


@dataclass
class Layer:
    """One file of the chain, in the order in which Hydra merges them.

    Args:
        key: the name under which Hydra is served it.
        prefix: where its keys land: the root, or a slot for files such as `env/cartpole.yaml`.
        defaults: the defaults list that Hydra is served, in the form that it accepts.
        decisions: what the recipe is, were this file the last of the chain.
        dropped: slots whose keys were written for another component than the final one, with the keys that stay.
    """

    key: str
    document: Document
    prefix: KeyPath = ()
    defaults: list[Any] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_lock(self) -> bool:
        return not self.prefix and isinstance(self.document.data.get("lock"), dict)

    def body(self) -> dict[str, Any]:
        """The keys of the file without its defaults list and without what is dropped."""
        if self.prefix:
            return {key: value for key, value in self.document.data.items() if key != "defaults"}
        data = {key: value for key, value in self.document.data.items() if key in TOP_LEVEL}
        for group in NAMED:
            if isinstance(data.get(group), dict):
                data[group] = self._without_dropped(data[group], f"{group}/")
        return self._without_dropped(data)

    def _without_dropped(self, data: Mapping[str, Any], group: str = "") -> dict[str, Any]:
        left = {key: self.dropped.get(f"{group}{key}", value) for key, value in data.items()}
        return {key: value for key, value in left.items() if value or f"{group}{key}" not in self.dropped}


@dataclass
class Chain:
    """All files behind one recipe, and what they choose."""

    roots: Roots
    lookup: Lookup
    layers: list[Layer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Slots whose choice was refused: later checks stay silent about them."""

    def add_recipe(self, document: Document, trail: tuple[Document, ...] = ()) -> tuple[Layer, dict[str, str]]:
        """Read one recipe and, first, those that it extends.

        Returns:
            Its layer, and the groups of its defaults tree: slot to where it was chosen first.
        """
        self.problems += document.problems
        layer = Layer("recipe" if not trail else f"parent_{len(self.layers) + len(trail)}", document)
        groups: dict[str, str] = {}
        written, problems = entries(document)
        self.problems += problems
        additions: list[Any] = []
        overriding: list[Any] = []
        own: dict[str, str] = {}
        for entry in written:
            if entry.kind == "self":
                self._take_body(layer)
                additions.append("_self_")
            elif entry.kind == "recipe":
                self._extend(entry, layer, groups, additions, (*trail, document))
            else:
                self._choose(entry, layer, groups, own, additions, overriding)
        layer.defaults = additions + overriding
        return layer, groups | own

    def _take_body(self, layer: Layer) -> None:
        self.layers.append(layer)
        document = layer.document
        self.problems += [
            unknown_key(key, document.where((key,)))
            for key in document.data
            if key not in TOP_LEVEL and key not in ("defaults", "lock")
        ]
        for slot, body in slots_in(layer.document.data):
            decision = body_decision(layer.document, slot, body)
            if decision is not None:
                layer.decisions[slot] = decision

    def _extend(
        self, entry: Entry, layer: Layer, groups: dict[str, str], additions: list[Any], trail: tuple[Document, ...]
    ) -> None:
        path = self.roots.find(entry.name, exclude=trail[-1].path)
        if path is None:
            hint = suggest(entry.name, self.roots.recipes())
            what = f"there is no recipe {printable(entry.name)!r} to extend" + (f" ({hint})" if hint else "")
            fix = "for a component write `slot: component`; recipes: " + ", ".join(self.roots.recipes())
            self.problems.append(Problem(what, entry.where, "defaults", "", fix))
            return
        if any(path.resolve() == seen.path.resolve() for seen in trail) or len(trail) > LONGEST_CHAIN:
            self.problems.append(Problem(f"the recipe {entry.name!r} extends itself", entry.where, "defaults"))
            return
        parent, inherited = self.add_recipe(read_document(path), trail)
        twice = sorted(set(inherited) & set(groups))
        for slot in twice:
            what = f"{slot}: chosen by two of the recipes that this one extends"
            why = f"{groups[slot]} and {inherited[slot]} both choose it"
            self.problems.append(Problem(what, entry.where, slot, why, "extend one of them"))
        if not twice:
            groups.update(inherited)
            layer.decisions.update(parent.decisions)
            additions.append(parent.key)

    def _choose(
        self,
        entry: Entry,
        layer: Layer,
        groups: dict[str, str],
        own: dict[str, str],
        additions: list[Any],
        overriding: list[Any],
    ) -> None:
        slot = entry.name
        fault = self._slot_fault(entry, own)
        if fault is None and entry.override and slot not in groups and slot not in layer.decisions:
            hint = suggest(slot, layer.decisions)
            fault = Problem(
                f"{slot}: there is nothing to override" + (f" ({hint})" if hint else ""),
                entry.where,
                slot,
                "no recipe above this line chooses a component for that slot",
                f"write `- {slot}: {entry.value}` without `override`",
            )
        if fault is not None:
            self.problems.append(fault)
            return
        layer.decisions[slot] = Decision(entry.value, entry.where)
        served = entry.value if entry.value is None or OPTION.fullmatch(entry.value) else None
        if slot in groups:
            overriding.append({f"override {slot}": served})
        else:
            own[slot] = entry.where
            additions.append({slot: served})

    def _slot_fault(self, entry: Entry, own: Mapping[str, str]) -> Problem | None:
        slot = entry.name
        if kind_of(slot) is None:
            slots = [*SINGLE, *(f"{group}/<name>" for group in NAMED)]
            hint = suggest(slot, slots)
            what = f"unknown slot {printable(slot)!r}" + (f" ({hint})" if hint else "")
            return Problem(what, entry.where, printable(slot), "", "slots: " + ", ".join(slots))
        if slot in own:
            return Problem(f"{slot}: chosen twice in this list", entry.where, slot, f"first at {own[slot]}")
        return None

    def settle(self, decisions: Mapping[str, Decision]) -> None:
        """Check what the slots hold in the end: each is a file of the slot's folder, or a component."""
        for slot, decision in decisions.items():
            if decision.value is None:
                continue
            path = None if decision.by_name else self.roots.option(slot, decision.value)
            if path is None:
                self._check_component(slot, decision)
            elif not self._add_file(slot, decision.value, read_document(path), decision.where):
                self.refused.add(slot)

    def _add_file(self, slot: str, value: str, document: Document, where: str, depth: int = 0) -> bool:
        self.problems += document.problems
        layer = Layer(f"{slot}/{value}", document, key_of(slot))
        good = document.readable
        for item in document.data.get("defaults") or []:
            found = self.roots.option(slot, item) if isinstance(item, str) else None
            if item == "_self_":
                continue
            if found is None or depth >= LONGEST_CHAIN:
                what = f"{layer.key} extends {printable(item)!r}, which is no other file of {slot}/"
                self.problems.append(Problem(what, document.where(("defaults",)), slot))
                good = False
            elif self._add_file(slot, str(item), read_document(found), where, depth + 1):
                layer.defaults.append(f"{item}@_here_")
        layer.defaults.append("_self_")
        # Behind what it extends, before every recipe: `Composition.origin` asks the last layer first.
        position = next((n for n, other in enumerate(self.layers) if not other.prefix), len(self.layers))
        self.layers.insert(position, layer)
        name = document.data.get("name")
        if good and isinstance(name, str):
            named = Decision(name, document.where(("name",)))
            return self._check_component(slot, named)
        return good

    def _check_component(self, slot: str, decision: Decision) -> bool:
        kind, name = kind_of(slot), decision.value
        assert kind is not None
        assert name is not None
        problem = self.lookup(kind, name) if OPTION.fullmatch(name) else Problem(f"no {kind} {printable(name)!r}")
        if problem is None:
            return True
        self.refused.add(slot)
        files = [] if decision.by_name else self.roots.options(slot)
        what, fix = problem.what, problem.fix
        if files:
            hint = suggest(name, files)
            what = what if "did you mean" in what or not hint else f"{what} ({hint})"
            fix = f"files of {slot}/: {', '.join(files)}" + (f"; {fix}" if fix else "")
        if slot == "env" and "-v" in name and self.lookup("env", "gym") is None:
            fix = f"for a Gymnasium id write env=gym env.id={printable(name)}; {fix}"
        self.problems.append(Problem(f"{slot}: {what}", decision.where, slot, problem.why, fix))
        return False


def unknown_key(key: str, where: str) -> Problem:
    """A key of a recipe that is neither a setting nor a slot. `hydra` is one: recipes do not configure Hydra."""
    hint = suggest(key, TOP_LEVEL)
    what = f"unknown key {printable(key)!r}" + (f" ({hint})" if hint else "")
    if kind_of(key):
        group, _, name = key.partition("/")
        return Problem(
            what, where, key, "", f"in the body of a file write `{group}:` and below it, indented, `{name}:`"
        )
    return Problem(what, where, printable(key), "", "keys of a recipe: " + ", ".join(TOP_LEVEL))


def body_decision(document: Document, slot: str, body: Any) -> Decision | None:
    """What the body of a file chooses for a slot: by `null`, by `from_run`, by `name`; None if it does not."""
    key = key_of(slot)
    if body is None:
        found, _ = look(document.data, key)
        return Decision(None, document.where(key)) if found and key in document.lines else None
    if not isinstance(body, Mapping):
        return None
    name, run = body.get("name"), body.get("from_run")
    if isinstance(run, str):
        return Decision(name if isinstance(name, str) else None, document.where((*key, "from_run")), run, by_name=True)
    if isinstance(name, str):
        return Decision(name, document.where((*key, "name")), by_name=True)
    return None
