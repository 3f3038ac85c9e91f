"""Where plugins come from: entry points of installed distributions, and single files. Nothing is imported here."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from reverie.errors import PluginError, Problem
from reverie.extension.names import canonical, suggest
from reverie.extension.report import LOCAL, PluginRecord, describe_exception, format_traceback
from reverie.extension.spec import ENTRY_POINT_GROUP
from reverie.extension.validate import Invalid

Found = tuple[PluginRecord, Callable[[], Any]]
"""A plugin that was found, and the call that imports it."""


def installed_plugins() -> list[Found]:
    """Every entry point of the group: Reverie's own first, then by distribution and name, whatever the disk's order.

    One distribution with an unreadable `entry_points.txt` must not hide the others, so each is read on its own
    (`importlib.metadata.entry_points()` raises for all of them).
    """
    found: list[Found] = []
    for distribution in _distinct(distributions()):
        found += _plugins_of(distribution)

    def key(item: Found) -> tuple[bool, str, str]:
        owner = canonical(item[0].distribution)
        return owner != "reverie", owner, item[0].name

    return sorted(found, key=key)


def file_plugins(files: Sequence[Path]) -> list[Found]:
    """One-file plugins, each named `local.<stem>`, in the order in which they were given.

    Raises:
        PluginError: if a file does not exist.
    """
    records = [_file_record(file) for file in dict.fromkeys(Path(file).resolve() for file in files)]
    return [(record, _file_importer(record)) for record in records]


def _distinct(found: Iterable[Distribution]) -> list[Distribution]:
    """The first distribution of each name: the one that `import` would use, too."""
    first: dict[str, Distribution] = {}
    for distribution in found:
        first.setdefault(canonical(_identity(distribution)[0]), distribution)
    return list(first.values())


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version, even where the metadata are missing or broken."""
    folder = Path(str(getattr(distribution, "_path", "unknown"))).name
    name, _, version = folder.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
    try:
        metadata = distribution.metadata
        if "Name" in metadata and "Version" in metadata:
            return str(metadata["Name"]), str(metadata["Version"])
    except Exception:  # noqa: BLE001  # foreign metadata that cannot be read; the folder's name says enough
        return name, version
    return name, version


def _plugins_of(distribution: Distribution) -> list[Found]:
    name, version = _identity(distribution)
    try:
        entry_points = [point for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
    except Exception as error:  # noqa: BLE001  # foreign metadata
        return _unreadable(distribution, name, version, error)
    return [(_record(point, name, version), point.load) for point in entry_points]


def _unreadable(distribution: Distribution, name: str, version: str, error: Exception) -> list[Found]:
    """A failed plugin if the broken file speaks of this group at all, else nothing of ours."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception:  # noqa: BLE001  # not even readable as text
        text = ""
    if f"[{ENTRY_POINT_GROUP}]" not in text:
        return []
    record = PluginRecord(canonical(name), name, version, "", traceback=format_traceback(error))
    reason = f"its entry_points.txt cannot be read: {describe_exception(error)}"

    def load() -> Any:
        raise Invalid(reason)

    return [(record, load)]


def _record(point: EntryPoint, name: str, version: str) -> PluginRecord:
    return PluginRecord(point.name, name, version, point.value.partition(":")[0].strip())


def _file_record(file: Path) -> PluginRecord:
    if not file.is_file():
        siblings = [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise PluginError(str(Problem(what=f"there is no plugin file {str(file)!r}", fix=suggest(file.name, siblings))))
    name = f"{LOCAL}.{re.sub(r'[^A-Za-z0-9_]', '_', file.stem)}"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return PluginRecord(name, name, "", name, file=str(file), sha256=digest)


def _file_importer(record: PluginRecord) -> Callable[[], ModuleType]:
    """Importing a file under its plugin's name, so that `f"{__name__}:Class"` finds its classes later."""

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(record.module, str(record.file))
        if spec is None or spec.loader is None:
            raise Invalid("it is no Python file (its name must end in .py)")
        module = importlib.util.module_from_spec(spec)
        sys.modules[record.module] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[record.module]
            raise
        return module

    return load
