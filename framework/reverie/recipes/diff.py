"""How two recipes differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from reverie.recipes.lock import lock_data
from reverie.recipes.recipe import Recipe

_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One key that differs. A value is written as YAML on one line; None where the recipe does not have the key."""

    key: str
    first: str | None
    second: str | None


def differences(first: Recipe, second: Recipe, *, filled: bool = True) -> list[Difference]:
    """The keys in which two recipes differ, in the order of the first.

    Args:
        first, second: prepared recipes.
        filled: compare with every default written out, not only what the recipes say.
    """
    return list(_compare(_data(first, filled), _data(second, filled), ""))


def _data(recipe: Recipe, filled: bool) -> dict[str, Any]:
    data = lock_data(recipe) if filled else recipe.resolved
    return {key: value for key, value in data.items() if key != "lock"}


def _compare(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key in dict.fromkeys((*first, *second)):
        one, other = first.get(key, _ABSENT), second.get(key, _ABSENT)
        if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("name") == other.get("name"):
            yield from _compare(one, other, f"{prefix}{key}.")
        elif one != other:
            yield Difference(f"{prefix}{key}", _text(one), _text(other))


def _text(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()
