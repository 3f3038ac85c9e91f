import sys
from typing import Any

import pytest

from reverie.errors import PluginError
from reverie.extension.catalogue import Catalogue, Component, LookupFailure
from reverie.extension.known import KnownPlugin
from reverie.extension.manager import load_plugins
from reverie.extension.report import PluginRecord
from reverie.extension.spec import ComponentSpec
from reverie.testing.distributions import plugin_source


def _record(name: str, distribution: str = "dist-a", **rest: Any) -> PluginRecord:
    return PluginRecord(name, distribution, "1.0", f"mod_{name}", **rest)


def _spec(kind: str, name: str) -> ComponentSpec:
    return ComponentSpec(kind, name, "m:C", "m:D", f"{name} in one line")


A, B = _record("alpha"), _record("beta", "dist-b")
PAIRS = [
    (A, _spec("head", "two_hot")),
    (A, _spec("dynamics", "rssm")),
    (A, _spec("dynamics", "ensemble")),
    (B, _spec("dynamics", "rssm")),
    (B, _spec("actor", "mlp")),
]


def _failure(catalogue: Catalogue, kind: str, name: str) -> Any:
    with pytest.raises(LookupFailure) as caught:
        catalogue.get(kind, name)
    assert str(caught.value) == str(caught.value.problem)
    return caught.value.problem


def test_lookup_by_name_and_by_distribution() -> None:
    catalogue = Catalogue(PAIRS)
    assert catalogue.get("dynamics", "ensemble").plugin is A
    assert catalogue.get("dynamics", "dist-b/rssm").plugin is B
    assert catalogue.get("dynamics", "DIST_A/rssm").plugin is A
    assert catalogue.get("dynamics", "dist-a/ensemble").reference == "ensemble"


def test_a_name_that_two_plugins_have_names_both_distributions_and_how_to_say_which() -> None:
    catalogue = Catalogue(PAIRS)
    problem = _failure(catalogue, "dynamics", "rssm")
    assert "'alpha' of dist-a 1.0 and plugin 'beta' of dist-b 1.0" in problem.what
    assert "'dist-a/rssm' or 'dist-b/rssm'" in problem.fix
    assert catalogue.names("dynamics") == ["dist-a/rssm", "dist-b/rssm", "ensemble"]
    assert [one.what for one in catalogue.conflicts()] == [problem.what]


def test_a_name_that_one_distribution_has_twice_can_only_be_blocked() -> None:
    pairs = [(A, _spec("head", "x")), (_record("other"), _spec("head", "x"))]
    problem = _failure(Catalogue(pairs), "head", "x")
    assert "--no-plugin dist-a/alpha or --no-plugin dist-a/other" in problem.fix


def test_a_misspelt_name_gets_a_suggestion_and_the_list() -> None:
    problem = _failure(Catalogue(PAIRS), "dynamics", "ensembel")
    assert "no dynamics called 'ensembel'" in problem.what
    assert "did you mean 'ensemble'?" in problem.fix
    assert "'dist-a/rssm', 'dist-b/rssm', 'ensemble'" in problem.fix


def test_a_wrong_distribution_gets_the_right_ones() -> None:
    assert "'dist-a/rssm'" in _failure(Catalogue(PAIRS), "dynamics", "dist-c/rssm").fix


def test_a_name_of_another_kind_says_so() -> None:
    assert "'mlp' is a component of another kind: actor" in _failure(Catalogue(PAIRS), "head", "mlp").fix


def test_an_unknown_kind_gets_a_suggestion() -> None:
    assert "did you mean 'dynamics'?" in _failure(Catalogue(PAIRS), "dynamic", "rssm").fix


def test_components_are_grouped_by_kind_then_name() -> None:
    found = [(component.kind, component.name) for component in Catalogue(PAIRS).components()]
    assert found == [
        ("dynamics", "ensemble"),
        ("dynamics", "rssm"),
        ("dynamics", "rssm"),
        ("head", "two_hot"),
        ("actor", "mlp"),
    ]
    assert [component.name for component in Catalogue(PAIRS).components("actor")] == ["mlp"]


KNOWN = (KnownPlugin("sky", "dist-sky", "pip install dist-sky", {"dynamics": ("cloud",)}),)


@pytest.mark.parametrize("name", ["cloud", "dist-sky/cloud", "Dist_Sky/cloud"])
def test_a_known_plugin_that_is_not_installed_comes_with_its_pip_line(name: str) -> None:
    problem = _failure(Catalogue(PAIRS, [A, B], KNOWN), "dynamics", name)
    assert "'cloud' belongs to plugin 'sky' of dist-sky, which is not installed: pip install dist-sky" in problem.fix


def test_a_known_plugin_that_is_blocked_or_broken_says_so() -> None:
    blocked = _record("sky", "dist-sky", state="blocked")
    assert "which is blocked: remove it from --no-plugin" in (
        _failure(Catalogue(PAIRS, [blocked], KNOWN), "dynamics", "cloud").fix
    )
    failed = _record("sky", "dist-sky", state="failed", error="it fell")
    assert "which could not be loaded: it fell" in _failure(Catalogue([], [failed], KNOWN), "dynamics", "cloud").fix
    assert _failure(Catalogue([], [failed], KNOWN), "dynamics", "rain").why == ""  # it is known not to hold that


def test_plugins_that_did_not_load_are_suspects_for_any_name() -> None:
    problem = _failure(Catalogue(PAIRS, [_record("gone", state="failed")], KNOWN), "dynamics", "anything")
    assert "'gone' (failed)" in problem.why
    assert "plugins doctor" in problem.why


def _component(
    install: Any, target: str, kind: str = "objective", config: str = "reverie:Config", **modules: str
) -> Any:
    source = plugin_source(kind=kind, name="mine", target=target, config=config)
    install("dist-a", plugins={"alpha": "mod_plugin"}, modules={"mod_plugin": source, **modules})
    return load_plugins().catalogue.get(kind, "mine")


GOOD = """
from reverie.contracts import Objective

class Mine(Objective):
    def losses(self, view, agent):
        return {}

class Other:
    pass

mine = 3
"""


def test_load_imports_the_class_and_nothing_before(install: Any) -> None:
    component = _component(install, "mod_target:Mine", mod_target=GOOD)
    assert "mod_target" not in sys.modules
    assert component.load().__name__ == "Mine"
    assert "mod_target" in sys.modules


@pytest.mark.parametrize(
    ("target", "source", "told"),
    [
        ("mod_target:Mien", GOOD, ["mod_target has no 'Mien'", "did you mean 'Mine'?"]),
        ("mod_target:Zebra", GOOD, ["classes there: 'Mine', 'Objective', 'Other'"]),
        ("mod_target:mine", GOOD, ["is not a class but int"]),
        ("mod_target:Other", GOOD, ["is no reverie.contracts.Objective", "make Other a subclass"]),
        ("mod_typo:Mine", GOOD, ["No module named 'mod_typo'", "correct 'mod_typo' in its ComponentSpec"]),
        ("mod_target:Mine", "import some_library_x.y", ["some_library_x", "install 'some_library_x'"]),
        ("mod_target:Mine", "1 / 0", ["importing its target mod_target failed: ZeroDivisionError"]),
        ("mod_target:Mine", "raise SystemExit(4)", ["it called sys.exit(4)"]),
    ],
)
def test_a_target_that_cannot_be_loaded(install: Any, target: str, source: str, told: list[str]) -> None:
    component = _component(install, target, mod_target=source)
    with pytest.raises(PluginError) as caught:
        component.load()
    message = str(caught.value)
    assert message.startswith("objective 'mine' (plugin 'alpha' of dist-a 1.0): its target") or "importing" in message
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    ("kind", "source", "told"),
    [
        ("objective", "class C: pass", "is no reverie.Config"),
        ("learner", "import reverie\nclass C(reverie.Config): pass", "is no reverie.LearnerConfig"),
        ("objective", "import reverie\nclass D(reverie.Config): pass", "has no 'C'"),
    ],
)
def test_a_config_that_is_none(install: Any, kind: str, source: str, told: str) -> None:
    component = _component(install, "m:C", kind, "mod_config:C", mod_config=source)
    with pytest.raises(PluginError, match="its config"):
        component.load_config()
    with pytest.raises(PluginError) as caught:
        component.load_config()
    assert told in str(caught.value)


def test_a_missing_extra_comes_with_its_pip_line(install: Any) -> None:
    _component(install, "mod_target:Mine", mod_target="import absent_library")
    component = load_plugins().catalogue.get("objective", "mine")
    spec = ComponentSpec(**{**vars(component.spec), "extra": "fancy"})
    with pytest.raises(PluginError, match=r"pip install 'dist-a\[fancy\]'"):
        Component(spec, component.plugin).load()


def test_an_environment_library_of_reverie_comes_with_its_extra(install: Any) -> None:
    source = "raise ModuleNotFoundError(\"No module named 'ale_py'\", name='ale_py.roms')"
    _component(install, "mod_target:Mine", mod_target=source)
    component = load_plugins().catalogue.get("objective", "mine")
    ours = PluginRecord("gym", "reverie", "0.1.0", "x")
    with pytest.raises(PluginError, match=r"pip install 'reverie\[atari\]'"):
        Component(component.spec, ours).load()
    with pytest.raises(PluginError, match="install 'ale_py'"):
        component.load()


def test_complete_gives_prefixes_first() -> None:
    catalogue = Catalogue(PAIRS)
    assert catalogue.complete("dynamics", "ens") == ["ensemble"]
    assert catalogue.complete("dynamics", "nsemble") == ["ensemble"]
