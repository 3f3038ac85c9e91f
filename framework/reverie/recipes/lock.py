"""The lock: a run's recipe with nothing left open, and where each component came from."""

import json
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from reverie.errors import Problem
from reverie.extension.manager import Plugins
from reverie.recipes.from_run import LOCK_FILE
from reverie.recipes.locate import printable
from reverie.recipes.recipe import Choice, Recipe
from reverie.recipes.slots import key_of

SCHEMA = 1
"""Version of the lock file's own form."""

PROVENANCE_FILE = "provenance.json"
_PACKAGES = ("reverie", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "pydantic", "gymnasium", "numpy")


def write_lock(recipe: Recipe, folder: Path) -> None:
    """Write `recipe.lock.yaml`, itself a recipe that repeats the run, and `provenance.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    header = f"# The locked recipe of this run.   reverie train {LOCK_FILE}\n"
    text = OmegaConf.to_yaml(OmegaConf.create(lock_data(recipe)))  # quotes what its loader takes for numbers: '12e4'
    (folder / LOCK_FILE).write_text(header + text, encoding="utf-8")
    (folder / PROVENANCE_FILE).write_text(json.dumps(provenance(recipe), indent=2) + "\n", encoding="utf-8")


def lock_data(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data with every default filled in."""
    data: dict[str, Any] = {"lock": {"schema": SCHEMA, "recipe": recipe.name}}
    if local := _local_plugins(recipe):
        data["lock"]["local_plugins"] = local
    if recipe.data_facts is not None and recipe.choice("data") is not None:
        data["lock"]["data"] = recipe.data_facts.model_dump(mode="json")
    data.update(recipe.settings.model_dump(mode="json"))
    for slot, choice in recipe.choices.items():
        *group, name = key_of(slot)
        holder = data.setdefault(group[0], {}) if group else data
        holder[name] = _slot_data(choice)
    data["run_dir"] = None  # a repeat gets a folder of its own
    return data


def _slot_data(choice: Choice) -> dict[str, Any]:
    data: dict[str, Any] = {"name": choice.component.reference}
    if choice.freeze:
        data["freeze"] = True
    if choice.from_run:
        data["from_run"] = choice.from_run
    return {**data, **choice.config.model_dump(mode="json")}


def _local_plugins(recipe: Recipe) -> list[dict[str, str]]:
    """The one-file plugins that the recipe uses."""
    used = {choice.component.plugin.name: choice.component.plugin for choice in recipe.choices.values()}
    return [
        {"name": record.name, "file": str(record.file), "sha256": str(record.sha256)}
        for record in used.values()
        if record.sha256
    ]


def provenance(recipe: Recipe) -> dict[str, Any]:
    """Which code and which words made this run; for people, never read back."""
    components = {
        slot: {
            "component": choice.component.name,
            "plugin": choice.component.plugin.name,
            "distribution": choice.component.plugin.distribution,
            "version": choice.component.plugin.version,
            "sha256": choice.component.plugin.sha256,
        }
        for slot, choice in recipe.choices.items()
    }
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "overrides": list(recipe.overrides),
        "command": [printable(argument, 500) for argument in sys.argv],
        "files": dict(recipe.origins),
        "components": components,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_lock(lock: Any, where: str, plugins: Plugins) -> tuple[list[str], list[Problem]]:
    """What a lock's own head says: its version, and the one-file plugins that must be there again."""
    schema = lock.get("schema") if isinstance(lock, Mapping) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        what = "`lock` is kept for lock files, and this one does not say its `schema`"
        return [], [Problem(what, where, "lock.schema", "", "remove `lock:`, or use a file that a run wrote")]
    if schema > SCHEMA:
        what = f"this lock file has schema {schema}, and this version of Reverie reads up to {SCHEMA}"
        return [], [Problem(what, where, "lock.schema", "", "use the version of Reverie that provenance.json names")]
    notes, problems = [], []
    local = lock.get("local_plugins") or []
    for entry in local if isinstance(local, list) else []:
        name, file = (
            (printable(entry.get(key), 200) for key in ("name", "file")) if isinstance(entry, dict) else ("", "")
        )
        record = next((one for one in plugins.records if one.name == name and one.state == "loaded"), None)
        if record is None:
            what = f"this run used the one-file plugin {name!r}, which is not loaded"
            problems.append(Problem(what, where, "lock.local_plugins", "", f"add --plugin {file}"))
        elif record.sha256 != entry.get("sha256"):
            notes.append(f"the one-file plugin {name!r} has changed since this run was made")
    return notes, problems
