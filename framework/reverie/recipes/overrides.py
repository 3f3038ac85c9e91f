"""The command line: what `dynamics=rssm`, `heads.reward=two_hot`, `decoder=null` and `dynamics.deter=64` mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from reverie.errors import Problem
from reverie.extension.names import suggest
from reverie.recipes.locate import key_fault, printable, value_fault
from reverie.recipes.slots import NAMED, TOP_LEVEL, KeyPath, dotted, kind_of

PLACE = "command line"


@dataclass(frozen=True)
class SlotChoice:
    """`slot=value`: another component in a slot, or none."""

    slot: str
    value: str | None
    text: str


@dataclass(frozen=True)
class KeyOverride:
    """`a.b=value`, or `~a.b` with `delete`. `written` is the value as Hydra reads it."""

    path: KeyPath
    value: Any
    written: str
    delete: bool = False


@dataclass
class CommandLine:
    """All overrides of one command, in order."""

    choices: dict[str, SlotChoice] = field(default_factory=dict)
    keys: list[KeyOverride] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, text: str, what: str, why: str = "", fix: str = "") -> None:
        self.problems.append(Problem(what, PLACE, printable(text.partition("=")[0]), why, fix))


def parse(overrides: Sequence[str]) -> CommandLine:
    """Read overrides. Nothing is raised: see `CommandLine.problems`."""
    line = CommandLine()
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            line.refuse(
                text,
                f"cannot read the override {printable(text)!r}",
                fix="write key=value; put values with special characters in quotes: 'key=\"a, b\"'",
            )
            continue
        _sort_in(line, override, text)
    return line


def _sort_in(line: CommandLine, override: Override, text: str) -> None:
    path: KeyPath = tuple(
        int(part) if part.isdecimal() else part for part in override.key_or_group.replace("/", ".").split(".")
    )
    if override.is_sweep_override():
        line.refuse(
            text,
            f"{printable(text)!r} asks for several runs at once",
            "a recipe describes one run",
            "use a study for sweeps; write a list as key=[a,b]",
        )
    elif override.package is not None:
        line.refuse(text, f"'@' is not used in overrides: {printable(text)!r}", fix="write key=value")
    elif any(isinstance(part, str) and key_fault(part) for part in path):
        line.refuse(text, f"the key {dotted(path)!r} is refused", "a recipe is data: it names components, never code")
    elif override.is_delete():
        _delete(line, path, text)
    elif path[0] not in TOP_LEVEL:
        hint = suggest(str(path[0]), TOP_LEVEL)
        fix = "keys of a recipe: " + ", ".join(TOP_LEVEL)
        line.refuse(text, f"unknown key {printable(path[0])!r}" + (f" ({hint})" if hint else ""), fix=fix)
    else:
        _assign(line, path, override.value(), text)


def _delete(line: CommandLine, path: KeyPath, text: str) -> None:
    slot = "/".join(str(part) for part in path)
    if kind_of(slot):
        line.choices[slot] = SlotChoice(slot, None, text)
    else:
        line.keys.append(KeyOverride(path, None, "", delete=True))


def _assign(line: CommandLine, path: KeyPath, value: Any, text: str) -> None:
    """Sort one assignment in; a mapping for a slot or a group of slots is taken apart."""
    slot = "/".join(str(part) for part in path)
    if kind_of(slot):
        _assign_slot(line, slot, path, value, text)
    elif len(path) == 1 and path[0] in NAMED:
        if isinstance(value, dict):
            for key, inner in value.items():
                _assign(line, (*path, str(key)), inner, text)
        else:
            line.refuse(text, f"{path[0]!r} is a group of slots", fix=f"name the slot: {path[0]}/<name>=...")
    elif path[-1] == "name" and kind_of("/".join(str(part) for part in path[:-1])):
        _assign_slot(line, "/".join(str(part) for part in path[:-1]), path[:-1], value, text)
    else:
        for fault in _faults(value):
            what, why, fix = fault
            line.refuse(text, f"{dotted(path)}: {what}", why, fix)
            return
        line.keys.append(KeyOverride(path, value, hydra_value(value)))


def _assign_slot(line: CommandLine, slot: str, path: KeyPath, value: Any, text: str) -> None:
    if value is None or (isinstance(value, str) and value and not value_fault(value)):
        line.choices[slot] = SlotChoice(slot, value, text)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _assign(line, (*path, str(key)), inner, text)
    else:
        line.refuse(
            text, f"{printable(text)!r} does not name a component", fix=f"write {slot}=<component>, or {slot}=null"
        )


def hydra_value(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(hydra_value(item) for item in value) + "]"
    if isinstance(value, str):
        return Override._get_value_element_as_str(QuotedString(value, Quote.single))
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _faults(value: Any) -> list[tuple[str, str, str]]:
    if isinstance(value, dict):
        keys = [fault for key in value if (fault := key_fault(str(key)))]
        return [(fault, "a recipe is data", "remove it") for fault in keys] + _faults(list(value.values()))
    if isinstance(value, list):
        return [fault for item in value for fault in _faults(item)]
    found = value_fault(value)
    return [found] if found else []
