"""The options of a component, read from its config class: name, type, default, meaning, presets."""

import json
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rich.padding import Padding
from rich.text import Text

from reverie.cli.console import styled
from reverie.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from rich.console import RenderableType

    from reverie.extension.catalogue import Component

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >=", "max_length": "length <="}


@dataclass(frozen=True)
class Option:
    """One option: `name` is dotted for options of options; `default` is plain data; required where there is none."""

    name: str
    type: str
    default: Any
    required: bool
    doc: str


@dataclass(frozen=True)
class DescribedConfig:
    """All options and presets of a component, or the reason why they cannot be read."""

    options: list[Option] = field(default_factory=list)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""

    def as_data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "options": [vars(option) for option in self.options],
            "presets": self.presets,
            "error": self.error,
        }

    def lines(self) -> "Iterator[RenderableType]":
        """Two lines per option: name, type and default; and what it means."""
        width = max((len(option.name) for option in self.options), default=0)
        for option in self.options:
            default = ("required", "yellow") if option.required else (f"default {json.dumps(option.default)}", "")
            head = Text.assemble(
                styled(option.name.ljust(width), "bold"), "  ", styled(option.type, "cyan"), "  ", styled(*default)
            )
            yield Padding(head, (0, 0, 0, 2), expand=False)
            if option.doc:
                yield Padding(styled(option.doc, "dim"), (0, 0, 0, width + 4), expand=False)


def describe_config(component: "Component") -> DescribedConfig:
    """Read the options of a component; imports its config class, and nothing that needs torch."""
    try:
        config = component.load_config()
    except PluginError as error:
        return DescribedConfig(error=str(error))
    presets = {name: {key: _plain(value) for key, value in values.items()} for name, values in config.presets.items()}
    return DescribedConfig(_options(config, ""), presets)


def _options(model: "type[BaseModel]", prefix: str) -> list[Option]:
    found: list[Option] = []
    for name, info in model.model_fields.items():
        nested = info.annotation
        if _is_model(nested) and not info.is_required():
            found += _options(typing.cast("type[BaseModel]", nested), f"{prefix}{name}.")
            continue
        default = None if info.is_required() else _plain(info.get_default(call_default_factory=True, validated_data={}))
        doc = " ".join((info.description or "").split())
        found.append(Option(f"{prefix}{name}", describe_type(info), default, info.is_required(), doc))
    return found


def _is_model(annotation: object) -> bool:
    from pydantic import BaseModel

    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def describe_type(info: "FieldInfo") -> str:
    """The type with its bounds, such as `int, > 0` or `'a' or 'b'`."""
    bounds = [
        f"{symbol} {getattr(mark, name)}"
        for mark in info.metadata
        for name, symbol in _BOUNDS.items()
        if getattr(mark, name, None) is not None
    ]
    return ", ".join([_type_text(info.annotation), *bounds])


def _type_text(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if origin is Literal:
        return " or ".join(repr(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_text(argument) for argument in arguments)
    if origin is typing.Annotated:
        return _type_text(arguments[0])
    if origin in (tuple, list, set, frozenset) and arguments:
        return f"list of {_type_text(arguments[0])}" if _uniform(arguments) else _pieces("list", arguments)
    if origin is not None and arguments:
        return _pieces(getattr(origin, "__name__", str(origin)), arguments)
    return getattr(annotation, "__name__", None) or str(annotation).removeprefix("typing.")


def _uniform(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is Ellipsis)


def _pieces(name: str, arguments: tuple[Any, ...]) -> str:
    return f"{name}[{', '.join(_type_text(argument) for argument in arguments)}]"


def _plain(value: Any) -> Any:
    """A default as plain data, as a recipe would write it."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
