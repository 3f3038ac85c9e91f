"""Hooks, kinds and capabilities are documented, and every hook is tested."""

import re

import pluggy
import pytest
from sources import ROOT, files

from reverie.extension import hooks
from reverie.extension.spec import CAPABILITIES, ENTRY_POINT_GROUP, KINDS

PAGE = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")


def declared() -> set[str]:
    """The hooks that pluggy finds, whatever the module's own list says."""
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(hooks)
    return {name for name in vars(manager.hook) if not name.startswith("_")}


def test_the_list_of_hooks_is_complete() -> None:
    assert set(hooks.HOOKS) == declared()


@pytest.mark.parametrize("hook", sorted(declared()))
def test_every_hook_is_documented_and_tested(hook: str) -> None:
    doc = getattr(hooks, hook).__doc__ or ""
    assert "Called" in doc, "say when it is called"
    assert "Returns:" in doc
    assert f"### hook: {hook}\n" in PAGE
    tests = [path for path in files("tests") if path.parent.name != "meta" and hook in path.read_text(encoding="utf-8")]
    assert tests, f"no test mentions {hook}"


def test_no_section_documents_a_hook_that_does_not_exist() -> None:
    assert set(re.findall(r"^### hook: (\w+)$", PAGE, re.MULTILINE)) == declared()


@pytest.mark.parametrize("name", [*KINDS, *CAPABILITIES])
def test_kinds_and_capabilities_are_documented(name: str) -> None:
    assert re.search(rf"^\| `{name}` \| \S", PAGE, re.MULTILINE), f"no row for `{name}` in docs/contracts.md"
