"""Reading a recipe file: guarded against hostile YAML, and remembering the line of every key."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from reverie.errors import Problem
from reverie.recipes.slots import KeyPath, dotted

LARGEST_FILE = 128 * 1024
DEEPEST = 24
MOST_VALUES = 5000
LARGEST_INTEGER = 2**63

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null"))


@dataclass(frozen=True)
class Document:
    """One recipe file as plain data.

    Args:
        path: the file.
        data: nested dicts, lists and scalars; what was refused is missing.
        lines: the line (from 1) of every key and list entry.
        sha256: of the file's bytes.
        problems: everything in it that was refused.
        readable: false where the file gave no data at all.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    sha256: str = ""
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def where(self, key: KeyPath = ()) -> str:
        """`file:line` of a key, or of the nearest one around it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return f"{shown(self.path)}:{self.lines[key[:length]]}"
        return shown(self.path)


def shown(path: Path) -> str:
    """A path as messages show it: relative where it lies below the current folder, printable always."""
    with suppress(OSError, ValueError):  # elsewhere: the full path says more
        path = path.resolve().relative_to(Path.cwd())
    return printable(str(path), 200)


def printable(value: object, limit: int = 60) -> str:
    """Text from a file as a message may show it: short, on one line, without control characters."""
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_document(path: Path) -> Document:
    """Read a recipe file. Never raises for what the file holds: see `Document.problems` and `readable`."""
    try:
        if not path.is_file():
            what = "this is a folder, not a recipe" if path.is_dir() else "there is no such file"
            return _unreadable(path, what, "give the name of a recipe or the path of a .yaml file")
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        return _unreadable(path, f"the file cannot be read ({printable(error, 120)})")
    if len(raw) > LARGEST_FILE:
        return _unreadable(path, f"the file is larger than {LARGEST_FILE // 1024} KiB, more than any recipe needs")
    try:
        text = raw.decode("utf-8")
        _check_size(text)
        node = yaml.compose(text, Loader=_loader())
    except UnicodeDecodeError:
        return _unreadable(path, "the file is not text in UTF-8")
    except _Refused as refused:
        return _unreadable(path, str(refused), line=refused.line)
    except yaml.YAMLError as error:
        return _malformed(path, error)
    return _build(path, node, hashlib.sha256(raw).hexdigest())


def _malformed(path: Path, error: yaml.YAMLError) -> Document:
    """The parser's complaint at the line to look at: for a bracket that is never closed, where it opens."""
    mark = getattr(error, "problem_mark", None)
    what = printable(getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed", 120)
    fix = ""
    if "'\\t'" in what:
        fix = "indent with spaces; YAML allows no tabs there"
    elif "stream" in what and isinstance(error, yaml.MarkedYAMLError) and error.context_mark is not None:
        mark = error.context_mark
        fix = "what this line opens is never closed"
    return _unreadable(path, f"this is not valid YAML: {what}", fix, line=mark.line + 1 if mark else None)


def _build(path: Path, node: yaml.Node | None, sha256: str) -> Document:
    builder = _Builder(path)
    data: Any = {} if node is None else builder.value(node, ())
    if not isinstance(data, dict):
        return _unreadable(path, "a recipe is a mapping of keys, but this file holds something else", line=1)
    return Document(path, data, builder.lines, sha256, builder.problems)


class _Refused(Exception):
    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def _check_size(text: str) -> None:
    """Count depth, values and aliases over the event stream, which needs neither recursion nor memory.

    Raises:
        _Refused: with the line where it became too much.
    """
    depth = 0
    for number, event in enumerate(_events(text)):
        line = event.start_mark.line + 1 if event.start_mark else None
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _Refused(f"values are nested deeper than {DEEPEST} levels", line)
        if number > 3 * MOST_VALUES:
            raise _Refused(f"there are more than {MOST_VALUES} values", line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused("anchors and aliases (& and *) are not read in recipes; write the values out", line)


def _events(text: str) -> Iterator[yaml.Event]:
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=_loader())
    return events


@cache
def _loader() -> type[yaml.SafeLoader]:
    """OmegaConf's loader: `1e-3` is a float, a repeated key is an error. It never constructs anything here."""
    loader: type[yaml.SafeLoader] = get_yaml_loader()
    return loader


_REFUSED = object()


class _Builder:
    """Turns YAML nodes into plain data and notes lines and refusals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []
        self.scalars = _loader()("")

    def refuse(self, node: yaml.Node, key: KeyPath, what: str, why: str = "", fix: str = "") -> None:
        place = f"{shown(self.path)}:{node.start_mark.line + 1}"
        self.problems.append(Problem(what, place, printable(dotted(key)), why, fix))

    def value(self, node: yaml.Node, key: KeyPath) -> Any:
        if node.tag not in _PLAIN_TAGS:
            self.refuse(
                node,
                key,
                f"the YAML tag {printable(node.tag)!r} is refused",
                "a recipe is data: text, numbers, lists and mappings",
                "write a plain value",
            )
            return _REFUSED
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return self.sequence(node, key)
        return self.scalar(node, key)

    def sequence(self, node: yaml.SequenceNode, key: KeyPath) -> list[Any]:
        result: list[Any] = []
        for child in node.value:
            self.lines[(*key, len(result))] = child.start_mark.line + 1
            value = self.value(child, (*key, len(result)))
            if value is not _REFUSED:
                result.append(value)
        return result

    def mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = self.key(key_node, key)
            if name is None:
                continue
            if name in result:
                self.refuse(key_node, (*key, name), f"the key {printable(name)!r} is written twice")
                continue
            self.lines[(*key, name)] = key_node.start_mark.line + 1
            value = self.value(value_node, (*key, name))
            if value is not _REFUSED:
                result[name] = value
        return result

    def key(self, node: yaml.Node, parent: KeyPath) -> str | None:
        if node.tag == "tag:yaml.org,2002:merge":
            self.refuse(node, parent, "merge keys (<<) are not read in recipes", fix="write the keys out")
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            shown_key = printable(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
            fix = "put it in quotes, or choose another name"
            self.refuse(node, parent, f"the key {shown_key} is not text for YAML", fix=fix)
            return None
        name = str(node.value)
        fault = key_fault(name)
        if fault:
            self.refuse(node, (*parent, name), fault, "a recipe is data: it names components, never code", "remove it")
            return None
        return name

    def scalar(self, node: yaml.Node, key: KeyPath) -> Any:
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > 40:
            self.refuse(node, key, f"the number {printable(node.value, 20)} is too large")
            return _REFUSED
        try:
            value = self.scalars.construct_object(node)
        except ValueError:
            self.refuse(node, key, f"the value {printable(node.value)!r} cannot be read as a number")
            return _REFUSED
        fault = value_fault(value)
        if fault:
            self.refuse(node, key, *fault)
            return _REFUSED
        return value


def key_fault(name: str) -> str:
    """Why a key is refused wherever it stands; empty where it is not."""
    if len(name) > 2 and name.startswith("_") and name.endswith("_"):
        return f"the key {printable(name)!r} is refused"
    if not name.isprintable() or len(name) > 200:
        return f"the key {printable(name)!r} has unprintable characters or no end"
    return ""


def value_fault(value: Any) -> tuple[str, str, str] | None:
    """Why a scalar is refused wherever it stands (what, why, fix), or None."""
    if isinstance(value, str) and "${" in value:
        what = f"the interpolation {printable(value)!r} is refused"
        return what, "recipes come from strangers, and interpolations read this machine", "write the value itself"
    if isinstance(value, str) and value == "???":
        return "the value '???' is missing", "", "write the value"
    if isinstance(value, str) and not value.replace("\n", "").replace("\t", "").isprintable():
        return f"the text {printable(value)!r} has control characters", "", "remove them"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return f"the number {printable(value, 24)} is too large", "", "write a smaller one"
    if isinstance(value, float) and not math.isfinite(value):
        return f"the number {value} is not finite", "", "write a finite one, or leave the key out for its default"
    return None


def _unreadable(path: Path, what: str, fix: str = "", line: int | None = None) -> Document:
    place = shown(path) + (f":{line}" if line else "")
    return Document(path, {}, {}, "", [Problem(what, place, "", "", fix)], readable=False)
