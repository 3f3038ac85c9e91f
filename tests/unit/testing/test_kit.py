"""How the kit reports, gates and excuses."""

import subprocess
import sys

import pytest
from rich.console import Console

from reverie.extension.catalogue import LookupFailure
from reverie.testing import conformance
from reverie.testing.broken_dynamics import Tiles
from reverie.testing.broken_planners import IgnoresValue
from reverie.testing.kit import make_cases
from reverie.testing.subject import subject_of
from reverie.testing.toys import LinearDynamics

REASON = "copies are reordered by the planner that it is made for"


def case(target: type, check: str, **options: object) -> conformance.Case:
    (found,) = [each for each in conformance.cases("dynamics", target, **options) if each.check.name == check]
    return found


def test_a_failure_explains_the_property_shows_numbers_and_names_the_page() -> None:
    with pytest.raises(conformance.ConformanceFailure) as caught:
        case(Tiles, "branch_interleaves").run()
    text = str(caught.value)
    assert "dynamics 'Tiles' fails the check `branch_interleaves`" in text
    assert "side by side" in text
    assert "24 of 48 numbers differ" in text
    assert "docs/contracts.md#dynamics-branch_interleaves" in text


def test_capabilities_gate_checks() -> None:
    assert case(LinearDynamics, "remembers").outcome().status == "not applicable"
    assert "does not provide recurrent" in case(LinearDynamics, "remembers").outcome().message
    case(LinearDynamics, "remembers").run()  # a check that does not apply fails nothing
    assert case(LinearDynamics, "remembers", provides=["recurrent"]).outcome().status == "passed"
    (value,) = [each for each in conformance.cases("planner", IgnoresValue) if each.check.name == "uses_value"]
    assert value.outcome().status == "not applicable"


def test_an_expected_failure_is_excused_with_its_reason() -> None:
    excused = case(Tiles, "branch_interleaves", expected_failures={"branch_interleaves": REASON})
    excused.run()
    assert (excused.outcome().status, excused.outcome().message) == ("expected failure", REASON)


def test_an_expected_failure_that_passes_is_a_failure() -> None:
    sound = case(LinearDynamics, "branch_interleaves", expected_failures={"branch_interleaves": REASON})
    with pytest.raises(conformance.ConformanceFailure, match="although a failure is expected because: copies"):
        sound.run()


@pytest.mark.parametrize(
    ("expected", "match"),
    [
        ({"branch_interleave": REASON}, "did you mean 'branch_interleaves'"),
        ({"branch_interleaves": "  "}, "give the reason"),
        ({"remembers": REASON}, "does not apply to 'Tiles': it does not provide recurrent"),
    ],
)
def test_expected_failures_must_name_a_check_that_applies_and_give_a_reason(expected: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        conformance.cases("dynamics", Tiles, expected_failures=expected)


def test_an_error_inside_a_component_is_a_finding_with_its_place() -> None:
    class Raises(LinearDynamics):
        def branch(self, state, n):
            raise KeyError("no branches here")

    outcome = case(Raises, "branch_interleaves").outcome()
    assert outcome.status == "failed"
    assert "it raised KeyError: 'no branches here'" in outcome.message
    assert "test_kit.py" in outcome.message


def test_a_report_prints_as_a_table_and_as_text() -> None:
    wanted = ("branch_interleaves", "remembers", "causality")
    cases = [case(Tiles, name) for name in wanted]
    from reverie.testing.kit import report

    found = report(cases)
    assert not found.ok
    assert found.failed == {"branch_interleaves"}
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found)
    printed = console.export_text()
    assert "branch_interleaves" in printed
    assert "most at [" in printed, "square brackets must survive rich's markup"
    assert str(found).startswith("dynamics 'Tiles': 1 passed, 1 failed, 1 not applicable")
    with pytest.raises(conformance.ConformanceFailure, match="24 of 48"):
        found.raise_if_failed()


def test_cases_have_ids_that_name_kind_component_and_check() -> None:
    assert str(case(Tiles, "causality")) == "dynamics-Tiles-causality"


def test_unknown_kinds_and_components_are_refused() -> None:
    with pytest.raises(ValueError, match="the kit knows no kind 'dynamic'"):
        conformance.cases("dynamic", Tiles)
    with pytest.raises(LookupFailure, match="no dynamics called 'no_such_dynamics'"):
        conformance.cases("dynamics", "no_such_dynamics")


def test_options_of_a_named_component_lie_above_its_preset() -> None:
    subject = subject_of("dynamics", "rssm", size="s", config={"classes": 5})
    assert (subject.config.deter, subject.config.groups, subject.config.classes) == (128, 16, 5)
    with pytest.raises(ValueError, match="option values need a component's name"):
        subject_of("dynamics", Tiles, config={"size": 3})


def test_needs_that_follow_from_options_reach_the_checks() -> None:
    plain, bootstrapped = (subject_of("planner", "cem", config={"bootstrap": choice}) for choice in (False, True))
    assert not plain.declares("heads/value")
    assert bootstrapped.declares("heads/value")
    assert len(make_cases(plain, lambda subject: subject, None)) == len(conformance.checks_of("planner"))


def test_the_kit_needs_no_pytest() -> None:
    program = (
        "import sys; from reverie.testing import conformance\n"
        "from reverie.testing.toys import ToyHead\n"
        "assert conformance.run('head', ToyHead).ok\n"
        "assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
