"""Every hook has documentation and a test here: `test_<hook>` (the first test fails for one that has not)."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reverie.errors import PluginError, Problem
from reverie.extension import hooks
from reverie.extension.manager import Plugins, load_plugins
from reverie.testing.distributions import plugin_source

SPECIFIED = [name for name, value in vars(hooks).items() if hasattr(value, "reverie_spec")]


def test_every_hook_is_listed() -> None:
    assert sorted(SPECIFIED) == sorted(hooks.HOOKS)
    assert len(SPECIFIED) >= 4


@pytest.mark.parametrize("hook", SPECIFIED)
def test_every_hook_has_documentation_and_a_test(hook: str) -> None:
    function = getattr(hooks, hook)
    text = inspect.getdoc(function) or ""
    assert "Returns:" in text, f"{hook}: say what it returns"
    assert "Called " in text, f"{hook}: say when it is called"
    for argument in inspect.signature(function).parameters:
        assert f"{argument}:" in text, f"{hook}: say what {argument} is"
    assert f"test_{hook}" in globals(), f"{hook} has no test: write test_{hook} in this file"


def _recipe(*plugins: Any) -> Any:
    """As much of a recipe as plugins' hooks need: choices with components."""
    choices = {f"slot{i}": SimpleNamespace(component=SimpleNamespace(plugin=p)) for i, p in enumerate(plugins)}
    return SimpleNamespace(choices=choices)


def _record(plugins: Plugins, name: str) -> Any:
    (record,) = plugins.find(name)
    return record


def test_reverie_components(install: Any) -> None:
    install("dist-a", plugins={"alpha": "mod_alpha"}, modules={"mod_alpha": plugin_source(name="alpha_dyn")})
    plugins = load_plugins()
    component = plugins.catalogue.get("dynamics", "alpha_dyn")
    assert (component.plugin.distribution, component.plugin.version) == ("dist-a", "1.0")
    assert component.plugin.file.endswith("mod_alpha.py")
    assert component.reference == "alpha_dyn"


def test_reverie_recipe_roots(install: Any, tmp_path: Path) -> None:
    (tmp_path / "my_recipes").mkdir()
    source = f"""
    from reverie import hookimpl

    @hookimpl
    def reverie_recipe_roots():
        return [{str(tmp_path / "my_recipes")!r}]
    """
    install("dist-a", plugins={"alpha": "mod_roots"}, modules={"mod_roots": source})
    plugins = load_plugins()
    assert tmp_path / "my_recipes" in plugins.recipe_roots()
    assert [record.name for record, path in plugins.roots if path == tmp_path / "my_recipes"] == ["alpha"]


CHECKS = """
from reverie import hookimpl
from reverie.errors import Problem

@hookimpl
def reverie_check_recipe(recipe):
    {body}
"""


def test_reverie_check_recipe(install: Any) -> None:
    body = "return [Problem(what=f'{len(recipe.choices)} slots are too few')]"
    install("dist-a", plugins={"alpha": "mod_check"}, modules={"mod_check": CHECKS.format(body=body)})
    assert load_plugins().check_recipe(_recipe()) == [Problem(what="0 slots are too few")]


@pytest.mark.parametrize("body", ["raise ValueError('my bug')", "import sys; sys.exit('my bug')", "return ['my bug']"])
def test_a_check_that_raises_stops_only_recipes_that_use_its_plugin(install: Any, body: str) -> None:
    install("dist-a", plugins={"alpha": "mod_check"}, modules={"mod_check": CHECKS.format(body=body)})
    install("dist-b", plugins={"beta": "mod_fine"}, modules={"mod_fine": CHECKS.format(body="return []")})
    plugins = load_plugins()
    (problem,) = plugins.check_recipe(_recipe(_record(plugins, "alpha")))
    assert "reverie_check_recipe" in problem.what
    assert "'alpha' of dist-a 1.0" in problem.what
    assert "my bug" in problem.what
    assert "--no-plugin dist-a/alpha" in problem.fix
    with pytest.warns(RuntimeWarning, match="my bug"):
        assert plugins.check_recipe(_recipe(_record(plugins, "beta"))) == []


def test_reverie_callbacks(install: Any) -> None:
    source = """
    from reverie import hookimpl

    @hookimpl
    def reverie_callbacks():  # a hook may take fewer arguments than its spec has
        return ["a callback"]
    """
    install("dist-a", plugins={"alpha": "mod_callbacks"}, modules={"mod_callbacks": source})
    assert load_plugins().callbacks(_recipe()) == ["a callback"]


def test_callbacks_that_raise_stop_the_run_and_name_the_plugin(install: Any) -> None:
    source = """
    from reverie import hookimpl

    @hookimpl
    def reverie_callbacks(recipe):
        raise ValueError("my bug")
    """
    install("dist-a", plugins={"alpha": "mod_callbacks"}, modules={"mod_callbacks": source})
    plugins = load_plugins()
    with pytest.raises(PluginError, match=r"reverie_callbacks of plugin 'alpha' of dist-a 1\.0 failed.*my bug"):
        plugins.callbacks(_recipe())
