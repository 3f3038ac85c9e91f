"""The tables of what Reverie knows by heart must not drift from what is true."""

import tomllib
from pathlib import Path

from reverie.extension.known import EXTRAS, KNOWN_PLUGINS, extra_of_module, install_hint, pip_line
from reverie.extension.manager import load_plugins

PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_every_extra_exists() -> None:
    optional = set(PYPROJECT["optional-dependencies"]) - {"all", "dev"}
    assert {extra.name for extra in EXTRAS} == optional


def test_every_builtin_plugin_is_known_and_every_known_one_exists() -> None:
    builtin = {known.name for known in KNOWN_PLUGINS if known.distribution == "reverie"}
    assert builtin == set(PYPROJECT["entry-points"]["reverie"])


def test_the_known_components_are_those_that_the_plugins_declare() -> None:
    declared: dict[str, dict[str, set[str]]] = {known.name: {} for known in KNOWN_PLUGINS}
    plugins = load_plugins()
    for component in plugins.catalogue:
        if component.plugin.distribution == "reverie":
            declared[component.plugin.name].setdefault(component.kind, set()).add(component.name)
    told = {known.name: {kind: set(names) for kind, names in known.components.items()} for known in KNOWN_PLUGINS}
    assert told == declared


def test_modules_lead_to_extras() -> None:
    assert extra_of_module("dm_control.suite").name == "dmc"  # type: ignore[union-attr]  # None would fail here
    assert extra_of_module("numpy") is None
    assert pip_line("reverie", "box2d") == "pip install 'reverie[box2d]'"
    assert install_hint("ale_py", distribution="Reverie", extra=None) == "pip install 'reverie[atari]'"
    assert install_hint("ale_py", distribution="other", extra=None) == ""
