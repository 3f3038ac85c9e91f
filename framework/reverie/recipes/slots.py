"""Slot paths: where a component sits in a recipe. A Hydra group has the path of its slot."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from reverie.recipes.schema import Settings

KeyPath = tuple[str | int, ...]
"""Where a value sits in nested data, such as `("stages", 1, "until")`."""

SINGLE: Mapping[str, str] = MappingProxyType(
    {
        "env": "env",
        "data": "data",
        "encoder": "encoder",
        "dynamics": "dynamics",
        "decoder": "decoder",
        "actor": "actor",
        "planner": "planner",
        "external": "external",
    }
)
"""Slots that a recipe has once, with the kind of component that fits."""

NAMED: Mapping[str, str] = MappingProxyType(
    {"decoders": "decoder", "heads": "head", "objectives": "objective", "learners": "learner"}
)
"""Groups of slots with names of the recipe's choosing (`heads/reward`), with the kind of component that fits."""

RESERVED = ("name", "size", "freeze", "from_run")
"""Keys of every slot that are not options of its component."""

SLOT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
OPTION = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
"""What may be written behind a slot: a component, `distribution/component`, or a file of the slot's folder."""

SETTINGS_KEYS = tuple(Settings.model_fields)
TOP_LEVEL = (*SETTINGS_KEYS, *SINGLE, *NAMED)


def kind_of(slot: str) -> str | None:
    """The kind of component that fits a slot path; None where the path is not one of a slot."""
    if slot in SINGLE:
        return SINGLE[slot]
    group, _, name = slot.partition("/")
    return NAMED.get(group) if SLOT_NAME.fullmatch(name) else None


def slot_of(path: KeyPath) -> str | None:
    """The slot in which a key path lies, or None: `("heads", "reward", "layers")` lies in `heads/reward`."""
    texts = [part for part in path[:2] if isinstance(part, str)]
    if texts and texts[0] in SINGLE:
        return texts[0]
    slot = "/".join(texts)
    return slot if len(texts) == 2 and kind_of(slot) else None


def key_of(slot: str) -> tuple[str, ...]:
    """The key path of a slot: `heads/reward` is `("heads", "reward")`."""
    return tuple(slot.split("/"))


def dotted(path: KeyPath) -> str:
    """A key path as the command line writes it."""
    return ".".join(str(part) for part in path)


def slots_in(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every slot that nested data mentions, with what it holds there. Malformed groups are left to the schema."""
    for key, value in data.items():
        if key in SINGLE:
            yield key, value
        elif key in NAMED and isinstance(value, Mapping):
            for name, body in value.items():
                if kind_of(f"{key}/{name}"):
                    yield f"{key}/{name}", body


def look(data: Any, path: KeyPath) -> tuple[bool, Any]:
    """Whether nested data holds something at a key path, and what."""
    for part in path:
        inside = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and -len(data) <= part < len(data)
        )
        if not inside:
            return False, None
        data = data[part]
    return True, data
