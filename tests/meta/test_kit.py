"""The kit is tested with components that are broken on purpose, in both directions."""

import re
from pathlib import Path

import pytest

from reverie.testing import conformance
from reverie.testing.broken import Broken, broken_components
from reverie.testing.broken_planners import CountingPlanner
from reverie.testing.kit import checks_of, report
from reverie.testing.report import Report
from reverie.testing.toy_dynamics import LinearEnsemble, OpenLoopDynamics
from reverie.testing.toys import (
    LinearDynamics,
    ToyActor,
    ToyDecoder,
    ToyEncoder,
    ToyHead,
    ToyObjective,
    ToyPlanner,
    ToyPosteriorEncoder,
)

DOCS = Path(__file__).parents[2] / "docs" / "contracts.md"
BROKEN = broken_components()
SOUND = [
    ("dynamics", LinearDynamics, ["recurrent", "differentiable"]),
    ("dynamics", LinearEnsemble, ["members", "differentiable"]),
    ("dynamics", OpenLoopDynamics, ["open_loop", "differentiable"]),
    ("planner", ToyPlanner, ["continuous", "discrete"]),
    ("planner", CountingPlanner, ["continuous", "discrete"]),
    ("actor", ToyActor, ["continuous", "discrete"]),
    ("encoder", ToyEncoder, ["vector", "image"]),
    ("encoder", ToyPosteriorEncoder, ["vector", "image", "posterior"]),
    ("decoder", ToyDecoder, ["vector", "image"]),
    ("head", ToyHead, []),
    ("objective", ToyObjective, []),
]


def run(broken: Broken) -> Report:
    if broken.kind == "plugin":
        return report(conformance.plugin_cases(broken.name, broken.specs, broken.module))
    assert broken.target is not None
    return conformance.run(broken.kind, broken.target, provides=broken.provides, needs=broken.needs)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_component_fails_exactly_the_checks_that_it_names(broken: Broken) -> None:
    found = run(broken)
    assert broken.meant in found.failed, f"nobody noticed: {broken.target and broken.target.__doc__}"
    assert found.failed == broken.fails, str(found)


@pytest.mark.parametrize("kind", conformance.KINDS)
def test_every_check_is_needed_by_a_broken_component(kind: str) -> None:
    meant = {broken.meant for broken in BROKEN if broken.kind == kind}
    assert meant == set(checks_of(kind))


@pytest.mark.parametrize(("kind", "target", "provides"), SOUND, ids=lambda value: getattr(value, "__name__", None))
def test_sound_toys_pass(kind: str, target: type, provides: list[str]) -> None:
    found = conformance.run(kind, target, provides=provides)
    assert found.ok, str(found)
    assert any(outcome.status == "passed" for outcome in found.outcomes)


@pytest.mark.parametrize("kind", conformance.KINDS)
def test_every_check_states_its_property_and_has_a_section_in_the_docs(kind: str) -> None:
    headings = set(re.findall(r"^### (\S+): (\S+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    for check in checks_of(kind).values():
        assert check.statement.endswith("."), check.name
        assert (kind, check.name) in headings
        # GitHub makes the anchor of "### kind: name" by dropping the colon and joining with a dash.
        assert check.page == f"docs/contracts.md#{kind}-{check.name}"
    assert {name for owner, name in headings if owner == kind} == set(checks_of(kind))


def test_the_sections_quote_the_statements_of_the_checks() -> None:
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    for kind in conformance.KINDS:
        for check in checks_of(kind).values():
            assert check.statement in text, f"the section of {kind}: {check.name} does not quote its docstring"
