"""Checks of plugins: what they declare, and what importing them costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from reverie.extension.config import Config, LearnerConfig
from reverie.extension.names import component_name_fault
from reverie.extension.spec import API_VERSION, CAPABILITIES, KINDS, ComponentSpec
from reverie.extension.validate import Invalid, check_specs
from reverie.testing.expect import require
from reverie.testing.kit import check
from reverie.testing.subject import PluginSubject, resolve

RESERVED = ("name", "size", "freeze", "from_run")
"""Keys that every slot has, so that no option may be called so."""


class PluginBench:
    """A plugin, with the resolving that several checks share."""

    def __init__(self, subject: PluginSubject) -> None:
        self.name, self.module, self.specs = subject.name, subject.module, subject.specs

    def configs(self) -> list[tuple[ComponentSpec, type[Config]]]:
        """Every spec with its config class."""
        return [(spec, resolve(spec.config)) for spec in self.specs]


def _label(spec: ComponentSpec) -> str:
    return f"{spec.kind} '{spec.name}'"


@check("plugin")
def imports_no_torch(bench: PluginBench) -> None:
    """Importing the entry module and the config modules imports neither torch nor hydra.

    The command line lists and checks every installed plugin; one heavy import makes `reverie --help` take seconds for
    everybody.
    """
    modules = [bench.module, *sorted({spec.config.partition(":")[0] for spec in bench.specs})]
    program = (
        "import sys, json, importlib\n"
        "sys.path[:] = json.loads(sys.argv[1])\n"
        "for name in json.loads(sys.argv[2]):\n"
        "    importlib.import_module(name)\n"
        "    heavy = [n for n in ('torch', 'hydra', 'pytorch_lightning') if n in sys.modules]\n"
        "    if heavy:\n"
        "        print(name, 'imports', ', '.join(heavy)); break\n"
    )
    command = [sys.executable, "-c", program, json.dumps(sys.path), json.dumps(modules)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    require(result.returncode == 0, f"importing {modules} failed:\n{result.stderr.strip()[-800:]}")
    require(not result.stdout.strip(), f"{result.stdout.strip()}; import it inside the component's own module instead")


@check("plugin")
def names_legal(bench: PluginBench) -> None:
    """Kinds, names, capabilities and slots are those of the contracts, and each name is used once per kind.

    A name is what people write into recipes and on the command line.
    """
    try:
        check_specs([replace(spec, api=API_VERSION) for spec in bench.specs])  # `api_current` judges that one
    except Invalid as error:
        require(False, f"{error} (kinds: {', '.join(KINDS)}; capabilities: {', '.join(CAPABILITIES)})")


@check("plugin")
def specs_resolve(bench: PluginBench) -> None:
    """Every spec's target is a class of its kind, and its config a `reverie.Config`.

    Classes are imported only when a recipe chooses them, so that a typing error would otherwise surface at a user's.
    """
    import reverie.contracts as contracts
    from reverie.extension.catalogue import Component
    from reverie.extension.report import PluginRecord

    record = PluginRecord(bench.name, bench.name, "", bench.module)
    for spec in bench.specs:
        component = Component(spec, record)
        component.load_config()
        loaded = component.load()
        require(isinstance(loaded, type), f"{_label(spec)}: {spec.target} is no class of {contracts.__name__}")


@check("plugin")
def api_current(bench: PluginBench) -> None:
    """Every spec names the contract version that is in force.

    A plugin for another version is not loaded; the message says which side to update.
    """
    for spec in bench.specs:
        require(spec.api == API_VERSION, f"{_label(spec)} says api={spec.api!r}; this is version {API_VERSION}")


@check("plugin")
def defaults_construct(bench: PluginBench) -> None:
    """Every config class can be made without arguments.

    Naming a component is enough to use it. Only an environment or a data source may ask for an option (which one).
    """
    for spec, config in bench.configs():
        required = [name for name, info in config.model_fields.items() if info.is_required()]
        if required and spec.kind in ("env", "data"):
            continue
        require(not required, f"{_label(spec)}: {config.__name__} has no default for {', '.join(required)}")
        config()


@check("plugin")
def options_documented(bench: PluginBench) -> None:
    """Every option has a text that says what it means.

    `reverie check` and the documentation show these texts; an option without one can only be guessed at.
    """
    for spec, config in bench.configs():
        bare = _undocumented(config, config.__name__)
        require(not bare, f"{_label(spec)}: no docstring below, or description of, {', '.join(bare)}")


@check("plugin")
def options_free(bench: PluginBench) -> None:
    """No option has the name of a key that every slot reserves, and every option's name is legal in a recipe."""
    for spec, config in bench.configs():
        taken = [name for name in config.model_fields if name in RESERVED]
        require(not taken, f"{_label(spec)}: {', '.join(taken)} is reserved (as are {', '.join(RESERVED)})")
        faults = [fault for fault in map(component_name_fault, config.model_fields) if fault]
        require(not faults, f"{_label(spec)}: {'; '.join(faults)}")


@check("plugin")
def presets_valid(bench: PluginBench) -> None:
    """Every preset is made of options that exist, with values that they accept.

    A recipe says `size: xs` and trusts that this works.
    """
    for spec, config in bench.configs():
        for size, values in config.presets.items():
            unknown = [name for name in values if name not in config.model_fields]
            require(not unknown, f"{_label(spec)}: preset '{size}' sets {', '.join(unknown)}, which is no option")
            try:
                required = [name for name, info in config.model_fields.items() if info.is_required()]
                if not set(required) - set(values):
                    config(**values)
            except ValueError as error:
                require(False, f"{_label(spec)}: preset '{size}' is refused: {error}")


def _undocumented(config: type[BaseModel], path: str) -> list[str]:
    inherited = set(Config.model_fields) | set(LearnerConfig.model_fields)
    found = []
    for name, info in config.model_fields.items():
        if not (info.description or "").strip() and name not in inherited:
            found.append(f"{path}.{name}")
        found += [entry for inner in _models(info.annotation) for entry in _undocumented(inner, f"{path}.{name}")]
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]
