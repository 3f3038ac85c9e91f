"""Who may import whom. `lint-imports` checks the same from pyproject.toml; here it runs with the tests."""

import ast
from pathlib import Path

import pytest
from sources import ROOT, at_module_level, files, imports, package_of, place

PLUGINS = ROOT / "plugins"
NAMES = sorted(path.name for path in (PLUGINS / "reverie_plugins").iterdir() if (path / "__init__.py").is_file())
MAY = ("reverie.contracts", "reverie.nn")
"""What plugins may import of the framework, besides what stands in `reverie` itself."""
HEAVY = ("torch", "hydra", "pytorch_lightning", "omegaconf", "stable_baselines3")


def public() -> set[str]:
    import reverie

    return {f"reverie.{name}" for name in reverie.__all__} | {"reverie"}


def foreign(path: Path) -> list[str]:
    """Imports of a plugin's file that reach into the framework's insides or into another plugin."""
    own = ".".join(path.relative_to(PLUGINS).parts[:2])
    found = []
    for node, name in imports(ast.parse(path.read_text(encoding="utf-8")), package_of(path, PLUGINS)):
        inside = name.split(".")[0] == "reverie" and name not in public() and not _under(name, *MAY)
        other = name.split(".")[0] == "reverie_plugins" and name != "reverie_plugins" and not _under(name, own)
        if inside or other:
            found.append(f"{place(path, node)} imports {name}")
    return found


def _under(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugin_imports_only_what_any_third_party_may(plugin: str) -> None:
    found = [line for path in files(f"plugins/reverie_plugins/{plugin}") for line in foreign(path)]
    assert not found, "\n".join(found)


def test_the_framework_imports_no_plugin() -> None:
    found = [
        place(path, node)
        for path in files("framework")
        for node, name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] == "reverie_plugins"
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["framework/reverie/extension", "framework/reverie/cli"])
def test_light_packages_import_nothing_heavy_at_module_level(folder: str) -> None:
    found = [
        f"{place(path, node)} imports {name}"
        for path in [*files(folder), ROOT / "framework/reverie/__init__.py", ROOT / "framework/reverie/errors.py"]
        for node, name in imports(at_module_level(ast.parse(path.read_text(encoding="utf-8"))))
        if name.split(".")[0] in HEAVY
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("plugin", NAMES)
def test_an_entry_module_and_its_options_import_nothing_heavy(plugin: str) -> None:
    folder = PLUGINS / "reverie_plugins" / plugin
    light = [folder / "__init__.py", *([folder / "config.py"] if (folder / "config.py").is_file() else [])]
    found = [
        f"{place(path, node)} imports {name}"
        for path in light
        for node, name in imports(at_module_level(ast.parse(path.read_text(encoding="utf-8"))))
        if name.split(".")[0] in HEAVY
    ]
    assert not found, "\n".join(found)


def test_a_foreign_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import test_imports

    folder = tmp_path / "reverie_plugins" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.setattr(test_imports, "PLUGINS", tmp_path)
    bad = {
        "inside": "from reverie.assembly.agent import Agent",
        "spec": "from reverie.extension.spec import ComponentSpec",
        "other": "from reverie_plugins.other import thing",
        "relative": "from ..other import thing",
    }
    for name, source in bad.items():
        (folder / f"{name}.py").write_text(source)
        assert test_imports.foreign(folder / f"{name}.py"), source
    good = "from reverie import Config\nfrom reverie.contracts import Latent\nfrom .config import X\nimport torch"
    (folder / "good.py").write_text(good)
    assert not test_imports.foreign(folder / "good.py")


def test_heavy_imports_inside_functions_do_not_count() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import hydra"
    tree = at_module_level(ast.parse(source))
    assert {name for _, name in imports(tree)} == {"typing", "typing.TYPE_CHECKING"}
