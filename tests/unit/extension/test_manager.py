import hashlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import PluginError
from reverie.extension.manager import Plugins, load_plugins
from reverie.extension.report import PluginRecord
from reverie.testing.distributions import plugin_source


def _one(plugins: Plugins, name: str) -> PluginRecord:
    found = plugins.find(name)
    assert len(found) == 1, [record.qualified for record in plugins.records]
    return found[0]


def _load(install: Any, source: str, module: str = "mod_under_test") -> PluginRecord:
    """The record of a plugin `alpha` with this source, loaded beside a good plugin that must not suffer."""
    install("dist-a", version="2.5", plugins={"alpha": module}, modules={module: source})
    install("zz-good", plugins={"good": "mod_good"}, modules={"mod_good": plugin_source(name="good_dyn")})
    plugins = load_plugins()
    assert plugins.catalogue.get("dynamics", "good_dyn").plugin.name == "good"
    record = _one(plugins, "alpha")
    assert (record.distribution, record.version, record.module) == ("dist-a", "2.5", module)
    if record.state != "loaded":
        assert all(component.plugin.name != "alpha" for component in plugins.catalogue)
        assert plugins.failures() == [record] or record.state == "blocked"
    return record


def test_a_good_plugin_loads(install: Any) -> None:
    record = _load(install, plugin_source())
    assert record.state == "loaded"
    assert record.error == record.traceback == ""


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('my bug')", "RuntimeError: my bug"),
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("raise SystemExit", "it called sys.exit()"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("def broken(:", "SyntaxError"),
        ("class Own(BaseException): pass\nraise Own('odd')", "Own: odd"),
        ("class Own(Exception):\n    def __str__(self): raise ValueError('worse')\nraise Own", "Own"),
        ("def again(): again()\nagain()", "RecursionError"),
    ],
)
def test_whatever_a_module_raises_is_recorded_with_its_traceback(install: Any, source: str, told: str) -> None:
    record = _load(install, source)
    assert record.state == "failed"
    assert told in record.error
    assert "Traceback" in record.traceback or "SyntaxError" in record.traceback


def test_a_real_ctrl_c_goes_through(install: Any) -> None:
    install("dist-a", plugins={"alpha": "mod_int"}, modules={"mod_int": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise RuntimeError('while listing')", "RuntimeError: while listing"),
        ("import sys; sys.exit('bye')", "it called sys.exit('bye')"),
        ("return 'rssm'", "returned 'rssm' where a list belongs"),
        ("return 3", "returned 3 where a list belongs"),
        ("return ['rssm']", "returned 'rssm' where a ComponentSpec belongs"),
        ("return ComponentSpec()", "TypeError"),
    ],
)
def test_a_hook_that_fails_while_listing_is_recorded(install: Any, body: str, told: str) -> None:
    source = f"from reverie import ComponentSpec, hookimpl\n@hookimpl\ndef reverie_components():\n    {body}\n"
    record = _load(install, source)
    assert record.state == "failed"
    assert told in record.error


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1", "it has no hook; mark its functions with @reverie.hookimpl"),
        (
            "from reverie import hookimpl\n@hookimpl\ndef reverie_component(): return []",
            "there is no hook 'reverie_component'; did you mean 'reverie_components'",
        ),
        (
            "from reverie import hookimpl\n@hookimpl\ndef reverie_check_recipe(recipy): return []",
            "recipy",
        ),
    ],
)
def test_hooks_that_cannot_be_called_are_refused(install: Any, source: str, told: str) -> None:
    record = _load(install, source)
    assert record.state == "failed"
    assert told in record.error


def test_an_optional_hook_of_another_version_is_allowed(install: Any) -> None:
    source = plugin_source() + "\n@hookimpl(optionalhook=True)\ndef reverie_of_tomorrow(): return []\n"
    assert _load(install, source).state == "loaded"


@pytest.mark.parametrize(("api", "side"), [(2, "update Reverie"), (0, "update the plugin")])
def test_a_wrong_api_version_says_which_side_to_update(install: Any, api: int, side: str) -> None:
    record = _load(install, plugin_source(api=api, kind="kind_of_tomorrow"))
    assert record.state == "incompatible"
    assert side in record.error
    assert f"version {api}, this Reverie has 1" in record.error


@pytest.mark.parametrize("by", ["argument", "environment", "qualified"])
def test_a_blocked_plugin_is_never_imported(install: Any, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    install("dist-a", plugins={"alpha": "mod_blocked"}, modules={"mod_blocked": "raise RuntimeError('imported')"})
    if by == "environment":
        monkeypatch.setenv("REVERIE_DISABLE_PLUGINS", "other, alpha,")
    plugins = load_plugins({"argument": ["alpha"], "qualified": ["Dist_A/alpha"]}.get(by, []))
    assert _one(plugins, "alpha").state == "blocked"
    assert "mod_blocked" not in sys.modules
    assert plugins.failures() == []
    assert plugins.unmatched == (["other"] if by == "environment" else [])


def test_two_distributions_with_one_plugin_name_both_load(install: Any) -> None:
    install("dist-a", plugins={"alpha": "mod_a"}, modules={"mod_a": plugin_source(name="from_a")})
    install("dist-b", plugins={"alpha": "mod_b"}, modules={"mod_b": plugin_source(name="from_b")})
    plugins = load_plugins()
    assert [record.distribution for record in plugins.find("alpha")] == ["dist-a", "dist-b"]
    assert [record.distribution for record in plugins.find("dist-b/alpha")] == ["dist-b"]
    assert {"from_a", "from_b"} <= set(plugins.catalogue.names("dynamics"))
    assert [record.state for record in load_plugins(["dist-a/alpha"]).find("alpha")] == ["blocked", "loaded"]
    assert [record.state for record in load_plugins(["alpha"]).find("alpha")] == ["blocked", "blocked"]


def test_one_module_behind_two_entry_points_is_refused_and_the_first_stays(install: Any) -> None:
    install("dist-a", plugins={"alpha": "mod_a", "beta": "mod_a"}, modules={"mod_a": plugin_source(name="from_a")})
    plugins = load_plugins()
    assert _one(plugins, "alpha").state == "loaded"
    assert _one(plugins, "beta").state == "failed"
    assert "is plugin 'dist-a/alpha' already" in _one(plugins, "beta").error
    assert plugins.manager.has_plugin("dist-a/alpha")
    assert plugins.catalogue.get("dynamics", "from_a").plugin.name == "alpha"


def test_an_illegal_plugin_name_is_refused_without_importing_it(install: Any) -> None:
    install("dist-a", plugins={"al/pha": "mod_slash"}, modules={"mod_slash": "raise RuntimeError('imported')"})
    (record,) = load_plugins().failures()
    assert "'al/pha' is not made of" in record.error
    assert "mod_slash" not in sys.modules


def test_printing_while_loading_does_not_reach_stdout(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _load(install, "print('hello from alpha')\n" + plugin_source())
    captured = capsys.readouterr()
    assert "hello" not in captured.out
    assert "hello from alpha" in captured.err


def test_unreadable_entry_points_harm_nobody_else(install: Any) -> None:
    site = install("dist-a", version="2.5", plugins={})
    (site / "dist_a-2.5.dist-info" / "entry_points.txt").write_text("[reverie]\nno equals sign\n")
    install("dist-b", plugins={"beta": "mod_b"}, modules={"mod_b": plugin_source(name="from_b")})
    with pytest.raises(TypeError):  # the reason why each distribution is read on its own
        importlib.metadata.entry_points(group="reverie")
    plugins = load_plugins()
    assert plugins.catalogue.get("dynamics", "from_b")
    (record,) = plugins.failures()
    assert (record.distribution, record.version) == ("dist-a", "2.5")
    assert "entry_points.txt cannot be read" in record.error


def test_a_distribution_without_metadata_is_named_after_its_folder(install: Any) -> None:
    site = install("dist-a", version="2.5", plugins={"alpha": "mod_a"}, modules={"mod_a": plugin_source(name="from_a")})
    (site / "dist_a-2.5.dist-info" / "METADATA").unlink()
    record = _one(load_plugins(), "alpha")
    assert (record.state, record.distribution, record.version) == ("loaded", "dist_a", "2.5")


def test_the_order_is_reverie_first_then_by_distribution_whatever_the_path_says(install: Any) -> None:
    for name in ("zz", "aa", "mm"):
        source = plugin_source(name=f"from_{name}")
        install(name, plugins={"p": f"mod_{name}"}, modules={f"mod_{name}": source})
    distributions = [record.distribution for record in load_plugins().records]
    assert distributions[-3:] == ["aa", "mm", "zz"]
    assert set(distributions[:-3]) == {"reverie"}


@pytest.mark.parametrize("root", ["relative/path", "/no/such/folder/anywhere"])
def test_a_recipe_root_that_does_not_exist_is_refused(install: Any, root: str) -> None:
    source = f"from reverie import hookimpl\n@hookimpl\ndef reverie_recipe_roots(): return [{root!r}]\n"
    record = _load(install, source)
    assert record.state == "failed"
    assert repr(root) in record.error


def _local(tmp_path: Path, name: str, source: str) -> Path:
    file = tmp_path / name
    file.write_text(source)
    return file


ONE_FILE = """
from reverie import ComponentSpec, Config, hookimpl
from reverie.contracts import Objective

class MyConfig(Config):
    scale: float = 2.0

class Mine(Objective):
    def losses(self, view, agent):
        return {}

@hookimpl
def reverie_components():
    return [ComponentSpec("objective", "mine", f"{__name__}:Mine", f"{__name__}:MyConfig", "mine")]
"""


@pytest.mark.usefixtures("install")
def test_a_one_file_plugin_loads_as_local_with_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _local(tmp_path, "my-own.py", ONE_FILE)
    monkeypatch.chdir(tmp_path)
    plugins = load_plugins(files=[Path("my-own.py"), file])  # the same file twice is one plugin
    record = _one(plugins, "local.my_own")
    assert record.state == "loaded"
    assert record.is_local
    assert record.file == str(file.resolve())
    assert record.sha256 == hashlib.sha256(ONE_FILE.encode()).hexdigest()
    component = plugins.catalogue.get("objective", "mine")
    assert component.load().__name__ == "Mine"
    assert component.load_config()().model_dump() == {"scale": 2.0}
    assert plugins.catalogue.get("objective", "local.my_own/mine") == component


@pytest.mark.usefixtures("install")
def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _local(tmp_path / folder, "x.py", ONE_FILE)
    plugins = load_plugins(files=[tmp_path / "a" / "x.py", tmp_path / "b" / "x.py"])
    first, second = plugins.find("local.x")
    assert (first.state, second.state) == ("loaded", "failed")
    assert "has the same name; rename one" in second.error
    assert str(tmp_path / "a" / "x.py") in second.error


@pytest.mark.usefixtures("install")
def test_a_missing_file_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    _local(tmp_path, "plugin_one.py", ONE_FILE)
    with pytest.raises(PluginError, match=r"plugin_oen\.py") as caught:
        load_plugins(files=[tmp_path / "plugin_oen.py"])
    assert "did you mean 'plugin_one.py'" in str(caught.value)


@pytest.mark.usefixtures("install")
def test_a_broken_file_is_recorded_and_leaves_no_module_behind(tmp_path: Path) -> None:
    record = _one(load_plugins(files=[_local(tmp_path, "bad.py", "raise ValueError('my bug')")]), "local.bad")
    assert record.state == "failed"
    assert "my bug" in record.error
    assert 'bad.py", line 1' in record.traceback
    assert "local.bad" not in sys.modules


@pytest.mark.usefixtures("install")
def test_a_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    record = _one(load_plugins(files=[_local(tmp_path, "notes.txt", "x")]), "local.notes")
    assert "its name must end in .py" in record.error
