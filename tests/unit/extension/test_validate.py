from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reverie.extension.spec import ComponentSpec, Needs
from reverie.extension.validate import Incompatible, Invalid, check_roots, check_specs

GOOD = ComponentSpec(
    kind="dynamics",
    name="mine",
    target="package.module:Mine",
    config="package.config:MineConfig",
    summary="mine",
    provides=frozenset({"recurrent"}),
    needs=Needs(slots=("decoder",), provides={"encoder": ("posterior",), "heads/reward": ("members",)}),
    extra="my-extra",
)


def test_a_good_spec_passes() -> None:
    assert check_specs((GOOD,)) == [GOOD]
    assert check_specs(None) == check_specs([]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Mine"}, "'Mine' is not made of lower case"),
        ({"name": "null"}, "YAML"),
        ({"name": None}, "a name is text"),
        ({"kind": "dynamic"}, "unknown kind 'dynamic'; did you mean 'dynamics'?"),
        ({"kind": "xyz"}, "kinds: 'actor'"),
        ({"kind": []}, "unknown kind"),
        ({"target": "package.module.Mine"}, "its target 'package.module.Mine' is not of the form"),
        ({"config": "x"}, "its config 'x' is not of the form"),
        ({"target": object}, "its target"),
        ({"summary": " "}, "has no summary"),
        ({"summary": None}, "has no summary"),
        ({"extra": "a]b"}, "extra 'a]b'"),
        ({"provides": frozenset({"recurent"})}, "unknown capability 'recurent'; did you mean 'recurrent'?"),
        ({"provides": frozenset({"zzz"})}, "capabilities: "),
        ({"provides": "recurrent"}, "where a collection of names belongs"),
        ({"provides": None}, "where a collection of names belongs"),
        ({"needs": ("decoder",)}, "where a reverie.Needs belongs"),
        ({"needs": Needs(slots=("decodr",))}, "'decodr', which is no slot path"),
        ({"needs": Needs(slots=("heads",))}, "'heads', which is no slot path"),
        ({"needs": Needs(slots=("heads/../x",))}, "no slot path"),
        ({"needs": Needs(slots="decoder")}, "where a collection of names belongs"),
        ({"needs": Needs(provides={"encoder": ("posteriour",)})}, "did you mean 'posterior'?"),
        ({"needs": Needs(provides={"encoder": "posterior"})}, "where a collection of names belongs"),
        ({"api": True}, "whole number"),
        ({"api": "1"}, "whole number"),
    ],
)
def test_a_wrong_spec_says_what_was_written_and_what_exists(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_specs([replace(GOOD, **change)])
    assert told in str(caught.value)


def test_the_api_version_is_judged_before_anything_else_in_any_spec() -> None:
    with pytest.raises(Incompatible, match="update Reverie"):
        check_specs([replace(GOOD, kind="of_tomorrow"), replace(GOOD, name="other", api=2)])


def test_declaring_a_component_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="declares dynamics 'mine' twice"):
        check_specs([GOOD, GOOD])
    assert len(check_specs([GOOD, replace(GOOD, kind="encoder")])) == 2


@pytest.mark.parametrize("answer", ["/tmp", {"a": 1}, 3])
def test_roots_must_be_a_list(answer: object) -> None:
    with pytest.raises(Invalid, match="where a list belongs"):
        check_roots(answer)


def test_roots_must_be_paths_of_folders(tmp_path: Path) -> None:
    assert check_roots([str(tmp_path), tmp_path]) == [tmp_path, tmp_path]
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "missing", 7):
        with pytest.raises(Invalid):
            check_roots([wrong])
