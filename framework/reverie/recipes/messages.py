"""pydantic's errors as problems: which key, where, what it may hold, and what it is for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from reverie.errors import Problem
from reverie.extension.names import suggest
from reverie.recipes.locate import printable
from reverie.recipes.slots import KeyPath, dotted, look

Locate = Callable[[KeyPath], str]
"""`file:line` of a key path of the whole recipe."""

FIX = "\nfix: "
"""Divides what a validator's `ValueError` says from what to write instead."""
_LIMITS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of its keys",
    "model_attributes_type": "a mapping of its keys",
    "none_required": "null",
}


def translate(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    prefix: KeyPath,
    where: Locate,
    subject: str,
    reserved: Sequence[str] = (),
) -> list[Problem]:
    """One problem per key.

    Args:
        error: of validating `data` by `model`.
        prefix: the key path of `data` in the recipe.
        subject: what the options belong to, for messages (`dynamics (rssm)`), may be empty.
        reserved: keys that are allowed beside the model's fields.
    """
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        grouped.setdefault(_path(detail, data), []).append(detail)
    for path in [path for path, details in grouped.items() if details[0]["type"] == "too_short"]:
        if any(other[: len(path)] == path and len(other) > len(path) for other in grouped):
            del grouped[path]  # its entries are wrong, which is why there are too few right ones
    told = {path: _of_the_kind_given(details) for path, details in grouped.items() if not _inside(path, grouped)}
    return [_problem(path, details, model, prefix, where, subject, reserved) for path, details in told.items()]


def _inside(path: KeyPath, grouped: Mapping[KeyPath, list[ErrorDetails]]) -> bool:
    """Whether what is wrong with a mapping lies in its keys: then it is right that it is a mapping."""
    deeper = any(other[: len(path)] == path and len(other) > len(path) for other in grouped)
    return deeper and all(isinstance(detail["input"], Mapping) for detail in grouped[path])


def _of_the_kind_given(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Where an option takes a number or a mapping, of a number that is out of its range nothing but that."""
    limits = [detail for detail in details if detail["type"] in _LIMITS]
    return limits or details


def _path(detail: ErrorDetails, data: Any) -> KeyPath:
    """pydantic's location without the tags of unions, which are no keys of anybody's file."""
    path: list[str | int] = []
    last = len(detail["loc"]) - 1
    for number, part in enumerate(detail["loc"]):
        if look(data, (part,))[0]:
            data = data[part]
            path.append(part)
        elif number == last and isinstance(data, Mapping) and detail["type"] in ("missing", "extra_forbidden"):
            path.append(part)
    return tuple(path)


def _problem(
    path: KeyPath,
    details: list[ErrorDetails],
    model: type[BaseModel],
    prefix: KeyPath,
    where: Locate,
    subject: str,
    reserved: Sequence[str],
) -> Problem:
    key = dotted((*prefix, *path))
    place = where((*prefix, *path))
    owner, info = _field(model, path)
    detail = details[0]
    around = subject or dotted(path[:-1])
    head = f"{around}: " if around else ""
    if detail["type"] == "extra_forbidden":
        known = [*(owner.model_fields if owner else ()), *(reserved if len(path) == 1 else ())]
        name = printable(path[-1])
        hint = suggest(str(path[-1]), known)
        what = f"{head}unknown key {name!r}" + (f" ({hint})" if hint else "")
        return Problem(what, place, key, "", "keys: " + ", ".join(known))
    if detail["type"] == "missing":
        what = f"{head}the key {printable(path[-1])!r} is missing"
        return Problem(what, place, key, _doc(info), f"write `{path[-1]}: ...`")
    if detail["type"] == "value_error":
        text, _, fix = str(detail.get("ctx", {}).get("error", detail["msg"])).partition(FIX)
        around = subject + (f", `{dotted(path)}`" if path else "") if subject else dotted(path)
        return Problem(f"{around}: {text}", place, key, _doc(info), fix)
    wanted = " or ".join(dict.fromkeys(_wanted(each) for each in details))
    value = printable(detail["input"], 40)
    hint = _choices_hint(details, detail["input"])
    head = f"{subject}: " if subject else ""
    what = f"{head}`{dotted(path) or key}` must be {wanted}, not {value!r}" + (f" ({hint})" if hint else "")
    if not isinstance(detail["input"], str):
        what = what.replace(f"not {value!r}", f"not {value}")
    return Problem(what, place, key, _doc(info), _within(detail, info) if len(details) == 1 else "")


def _wanted(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        return ("one of " if "," in context["expected"] else "") + str(context["expected"])
    if detail["type"] == "too_short":
        return f"a list of at least {context['min_length']}"
    if detail["type"] in _WANTED:
        return _WANTED[detail["type"]]
    if detail["type"] in _LIMITS:
        words = detail["type"].replace("_", " ").replace("than equal", "than or equal to")
        return f"{words} {context[_LIMITS[detail['type']]]}"
    if detail["type"] == "string_pattern_mismatch":
        return f"text of the form {context['pattern']}"
    message = detail["msg"].removeprefix("Input should ").removeprefix("be ")
    return message[:1].lower() + message[1:]


def _within(detail: ErrorDetails, info: FieldInfo | None) -> str:
    """The fix of a number out of its range; other mistakes already say what the key must be."""
    if detail["type"] not in _LIMITS:
        return ""
    default = info.default if info else None
    named = isinstance(default, int | float) and not isinstance(default, bool)
    size = "larger" if detail["type"].startswith("greater") else "smaller"
    return f"write a {size} number" + (f"; the default is {default:g}" if named else "")


def _choices_hint(details: list[ErrorDetails], value: Any) -> str:
    expected = [detail["ctx"]["expected"] for detail in details if detail["type"] == "literal_error"]
    names = [part.strip("' ") for text in expected for part in text.replace(" or ", ",").split(",")]
    return suggest(value, names) if isinstance(value, str) else ""


def _doc(info: FieldInfo | None) -> str:
    return " ".join((info.description or "").split()) if info else ""


def _field(model: type[BaseModel], path: KeyPath) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the last key of a path, and the key's field, as far as annotations tell."""
    owners: list[type[BaseModel]] = [model]
    found: tuple[type[BaseModel] | None, FieldInfo | None] = (model, None)
    for part in path:
        if isinstance(part, int):
            continue
        if not owners:
            return None, None
        info = next((owner.model_fields[part] for owner in owners if part in owner.model_fields), None)
        owner = next((owner for owner in owners if part in owner.model_fields), owners[0])
        found = owner, info
        owners = list(_models(info.annotation)) if info else []
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
