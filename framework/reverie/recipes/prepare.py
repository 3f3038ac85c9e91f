"""From a recipe's name to a checked `Recipe`: composition, schema, wiring, the plugins' own checks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reverie.errors import Problem, RecipeError
from reverie.extension.catalogue import LookupFailure
from reverie.extension.manager import Plugins, load_plugins
from reverie.extension.names import suggest
from reverie.recipes import overrides as command_line
from reverie.recipes.chain import Chain
from reverie.recipes.compose import Composition, compose
from reverie.recipes.data_facts import facts_of_lock
from reverie.recipes.locate import Document, printable, read_document, shown
from reverie.recipes.lock import check_lock
from reverie.recipes.recipe import Recipe
from reverie.recipes.roots import Roots, primary
from reverie.recipes.slots import KeyPath, dotted, key_of
from reverie.recipes.validate import Validator, settings
from reverie.recipes.wiring import check_wiring, misspelt, unused


def prepare(recipe: str | Path, overrides: Sequence[str] = (), *, plugins: Plugins | None = None) -> Recipe:
    """Compose, validate and check a recipe.

    Args:
        recipe: the name of a recipe, or a path that ends in `.yaml` (a lock file too).
        overrides: as on the command line, such as `env=pendulum` or `dynamics.deter=64`.
        plugins: those to use; loaded if not given.

    Raises:
        RecipeError: with every problem that was found.
    """
    result, problems = examine(recipe, overrides, plugins or load_plugins())
    if problems or result is None:
        raise RecipeError(problems)
    return result


def examine(recipe: str | Path, overrides: Sequence[str], plugins: Plugins) -> tuple[Recipe | None, list[Problem]]:
    """What `prepare` does, but with everything that could be made of a recipe with problems; None for nothing.

    Raises:
        RecipeError: if there is no such recipe.
    """
    if isinstance(overrides, str):  # each of its letters would be an override
        what = f"overrides are a list of texts, not one text ({printable(overrides)!r})"
        raise RecipeError([Problem(what, fix=f"write overrides=[{printable(overrides)!r}]")])
    composition = composed(recipe, overrides, plugins)
    if not all(layer.document.readable for layer in composition.layers) or not composition.data:
        fix = "`reverie recipes copy` gives one to begin with"
        return None, list(composition.problems) or [Problem("the recipe is empty", composition.where(()), fix=fix)]
    result, problems, refused = _validated(composition, overrides, plugins)
    if result.choices or not problems:
        problems += check_wiring(result, refused, composition.where)
    for slot, line in unused(result):
        place = result.places.get(f"{dotted(key_of(slot))}.name", "")
        problem = misspelt(result, slot, place) if place == command_line.PLACE else None
        if problem is None:
            result.notes.append(line)
        else:
            problems.append(problem)
    if not problems:
        problems += plugins.check_recipe(result)
    return result, _in_order(problems)


def prepare_environment(overrides: Sequence[str], *, plugins: Plugins | None = None) -> Recipe:
    """An environment without an agent, by overrides such as `env=pendulum env.time_limit=100`; every setting has its
    default.

    Raises:
        RecipeError: with every problem that was found, and for overrides of anything but the environment.
    """
    plugins = plugins or load_plugins()
    nothing = Document(Path(command_line.PLACE), {}, {})
    composition = _compose(nothing, Roots(tuple(plugins.recipe_roots())), overrides, plugins)
    result, problems, _ = _validated(composition, overrides, plugins)
    others = [slot for slot in result.choices if slot != "env"]
    others += sorted(set(composition.data) - {"env", *(slot.partition("/")[0] for slot in others)})
    fix = "write env=NAME, such as env=pendulum, and keys of it such as env.time_limit=100"
    problems += [
        Problem(f"'{name}' cannot be given here", command_line.PLACE, name, "nothing but an environment is made", fix)
        for name in others
    ]
    if not problems and "env" not in result.choices:
        problems.append(Problem("no environment is named", command_line.PLACE, "env", fix=fix))
    if problems:
        raise RecipeError(_in_order(problems))
    return result


def _validated(
    composition: Composition, overrides: Sequence[str], plugins: Plugins
) -> tuple[Recipe, list[Problem], set[str]]:
    """Settings and components against their schemas; also the slots whose components were refused."""
    problems = list(composition.problems)
    lock = composition.document.data.get("lock")
    notes, faults = check_lock(lock, composition.document.where(("lock",)), plugins) if lock is not None else ([], [])
    problems += faults
    facts, faults = facts_of_lock(lock, composition.document.where(("lock",)))
    problems += faults
    values, faults = settings(composition)
    validator = Validator(composition, plugins.catalogue, values.size)
    choices = validator.choices()
    problems += [*faults, *validator.problems]
    result = Recipe(
        name=_name(composition.document),
        settings=values,
        choices=choices,
        plugins=plugins,
        resolved=composition.data,
        notes=[*notes, *composition.notes],
        overrides=tuple(overrides),
        written=composition.written,
        origins={shown(layer.document.path): layer.document.sha256 for layer in composition.layers},
        data_facts=facts if not _other_data(overrides) else None,
        places={dotted(key): composition.where(key) for key in leaves(composition.data)},
    )
    return result, problems, validator.refused


def _other_data(overrides: Sequence[str]) -> bool:
    """Whether the command line names other data than a lock does."""
    keys = {override.partition("=")[0].strip().lstrip("+~") for override in overrides}
    return any(key == "data" or (key.startswith("data.") and key != "data.held_out") for key in keys)


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once: the command line, then file by file from top to bottom."""
    files = list(dict.fromkeys([command_line.PLACE, *(_place(problem)[0] for problem in problems)]))
    return sorted(dict.fromkeys(problems), key=lambda one: (files.index(_place(one)[0]), _place(one)[1]))


def _place(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.where, 0)


def composed(recipe: str | Path, overrides: Sequence[str], plugins: Plugins) -> Composition:
    """The first step alone: what Hydra makes of the files and the command line.

    Raises:
        RecipeError: if there is no such recipe.
    """
    path, roots = primary(recipe, plugins.recipe_roots())
    if path is None:
        hint = suggest(str(recipe), roots.recipes())
        what = f"there is no recipe {printable(recipe)!r}" + (f" ({hint})" if hint else "")
        fix = f"recipes: {', '.join(roots.recipes()) or 'none'}; a path must end in .yaml"
        raise RecipeError([Problem(what, "", "", "", fix)])
    return _compose(read_document(path), roots, overrides, plugins)


def _compose(document: Document, roots: Roots, overrides: Sequence[str], plugins: Plugins) -> Composition:
    def lookup(kind: str, name: str) -> Problem | None:
        try:
            plugins.catalogue.get(kind, name)
        except LookupFailure as failure:
            return failure.problem
        return None

    return compose(document, Chain(roots, lookup), command_line.parse(overrides))


def _name(document: Document) -> str:
    """A recipe's name: that of its file, or what a lock says."""
    lock = document.data.get("lock")
    said = lock.get("recipe") if isinstance(lock, dict) else None
    name = said if isinstance(said, str) else document.path.name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64] or "recipe"


def leaves(data: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The key path of every value in nested data; a list is one value."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif path:
        yield path
