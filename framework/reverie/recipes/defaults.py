"""Reading a defaults list: which recipes a file extends, and which components it chooses."""

from dataclasses import dataclass
from typing import Any, Literal

from reverie.errors import Problem
from reverie.recipes.locate import Document, printable


@dataclass(frozen=True)
class Entry:
    """One line of a defaults list.

    Args:
        kind: `recipe` extends a recipe, `slot` chooses a component, `self` marks where the file's own keys come.
        name: the recipe or the slot.
        value: the component, or None for an empty slot.
        override: written with `override`, as for a slot that an extended recipe fills.
    """

    kind: Literal["recipe", "slot", "self"]
    name: str
    value: str | None
    override: bool
    where: str


def entries(document: Document) -> tuple[list[Entry], list[Problem]]:
    """The lines of a file's defaults list, extended recipes and additions first, `override` lines at the end.

    Hydra refuses additions behind `override` lines, and adds `_self_` by its own rules; here order is as one expects:
    the file's own keys come last unless `_self_` says otherwise.
    """
    items = document.data.get("defaults", [])
    if items is None:
        items = []
    if not isinstance(items, list):
        what = "`defaults` is a list of lines such as `- dynamics: rssm`"
        return [Entry("self", "", None, False, document.where())], [
            Problem(what, document.where(("defaults",)), "defaults")
        ]
    found: list[Entry] = []
    problems: list[Problem] = []
    for number, item in enumerate(items):
        entry = _entry(item, document.where(("defaults", number)))
        if isinstance(entry, Problem):
            problems.append(entry)
        elif entry.kind == "self" and any(other.kind == "self" for other in found):
            problems.append(Problem("`_self_` stands twice in this list", entry.where, "defaults"))
        else:
            found.append(entry)
    if not any(entry.kind == "self" for entry in found):
        found.append(Entry("self", "", None, False, document.where()))
    return sorted(found, key=lambda entry: entry.override), problems


def _entry(item: Any, where: str) -> Entry | Problem:
    if item == "_self_":
        return Entry("self", "", None, False, where)
    if isinstance(item, str) and item:
        if "@" in item or item.startswith("/") or " " in item:
            return Problem(f"cannot read the line {printable(item)!r}", where, "defaults", "", "write `- <recipe>`")
        return Entry("recipe", item, None, False, where)
    if isinstance(item, dict) and len(item) == 1:
        key, value = next(iter(item.items()))
        *words, slot = str(key).split(" ")
        override = words == ["override"]
        if (words and not override) or "@" in slot or slot.startswith("/"):
            fix = "write the path of a slot, such as `- heads/reward: two_hot`"
            return Problem(f"cannot read the key {printable(key)!r}", where, "defaults", "", fix)
        if value is None or (isinstance(value, str) and value):
            return Entry("slot", slot, value, override, where)
        return Problem(
            f"{printable(slot)}: {printable(value)!r} does not name a component",
            where,
            printable(slot),
            "a defaults list chooses components; options belong in the body of the file",
            f"write `- {printable(slot)}: <component>` here and its options below, under `{printable(slot)}:`",
        )
    return Problem("a line of a defaults list is `- slot: component` or `- recipe`", where, "defaults")
