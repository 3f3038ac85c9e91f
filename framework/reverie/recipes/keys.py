"""Do the command line's keys lead anywhere? Checked before Hydra, which stops at the first that does not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reverie.errors import Problem
from reverie.extension.names import suggest
from reverie.recipes.chain import Layer
from reverie.recipes.locate import printable
from reverie.recipes.overrides import PLACE, KeyOverride
from reverie.recipes.slots import KeyPath, dotted, look


def reachable(layers: Sequence[Layer], keys: Sequence[KeyOverride]) -> tuple[list[KeyOverride], list[Problem]]:
    """The overrides that Hydra can apply, with entries of lists by number (`stages.train.ratio` names a stage).

    A new key of a mapping is reachable: whether it is known is the schema's affair.
    """
    good: list[KeyOverride] = []
    problems: list[Problem] = []
    for key in keys:
        path: KeyPath | Problem = ()
        for part in key.path:
            assert not isinstance(path, Problem)
            path = _step(path, part, *_find(layers, good, path))
            if isinstance(path, Problem):
                problems.append(path)
                break
        else:
            assert not isinstance(path, Problem)
            if key.delete and not _find(layers, good, path)[0]:
                text = dotted(path)
                problems.append(
                    Problem(f"there is no {text!r} to remove", PLACE, text, "no file of this recipe writes it")
                )
            else:
                good.append(replace(key, path=path))
    return good, problems


def _find(layers: Sequence[Layer], earlier: Sequence[KeyOverride], path: KeyPath) -> tuple[bool, Any]:
    """What stands at a key path before an override is applied."""
    for key in reversed(earlier):
        if path and key.path == path:
            return not key.delete, key.value
    for layer in reversed(layers):
        if path[: len(layer.prefix)] == layer.prefix:
            found, value = look(layer.body(), path[len(layer.prefix) :])
            if found:
                return True, value
    return False, None


def _step(path: KeyPath, part: str | int, found: bool, node: Any) -> KeyPath | Problem:
    """One step further, or why there is none."""
    if not found or not isinstance(node, list):
        return (*path, part)
    if isinstance(part, int) and part < len(node):
        return (*path, part)
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in node]
    if part in names:
        return (*path, names.index(part))
    known = [name for name in names if isinstance(name, str)]
    hint = suggest(str(part), known)
    what = f"`{dotted(path)}` has no entry {printable(part)!r}" + (f" ({hint})" if hint else "")
    fix = f"its entries: 0 to {len(node) - 1}" + (f", or by name {', '.join(known)}" if known else "")
    return Problem(what, PLACE, dotted((*path, part)), "", fix if node else "the list is empty")
