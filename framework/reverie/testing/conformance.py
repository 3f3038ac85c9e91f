"""The conformance kit: the contracts as checks that anyone runs on their own components.

With pytest, one line per component:

    @pytest.mark.parametrize("case", conformance.cases("dynamics", "my_dynamics"), ids=str)
    def test_conformance(case):
        case.run()

Without pytest: `rich.print(conformance.run("dynamics", "my_dynamics"))`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reverie.extension.config import Config
from reverie.extension.spec import ComponentSpec, Needs
from reverie.testing import (
    actor_checks,
    dynamics_checks,
    dynamics_training,
    objective_checks,
    part_checks,
    planner_checks,
    plugin_checks,
)
from reverie.testing.kit import Case, Check, ConformanceFailure, Violation, checks_of, make_cases, report
from reverie.testing.report import Outcome, Report
from reverie.testing.subject import plugin_subject, subject_of

__all__ = [
    "KINDS",
    "Case",
    "Check",
    "ConformanceFailure",
    "Outcome",
    "Report",
    "Violation",
    "cases",
    "checks_of",
    "plugin_cases",
    "run",
]

KINDS: Mapping[str, Callable[[Any], Any]] = {
    "plugin": plugin_checks.PluginBench,
    "dynamics": dynamics_checks.DynamicsBench,
    "planner": planner_checks.PlannerBench,
    "actor": actor_checks.ActorBench,
    **part_checks.BENCHES,
    "objective": objective_checks.ObjectiveBench,
}
"""The kinds that the kit knows, with what sets a component of each kind up for its checks."""

_REGISTERED = (dynamics_training,)  # imported for the checks that they register


def cases(
    kind: str,
    component: str | type[Any],
    *,
    config: Config | Mapping[str, Any] | None = None,
    size: str | None = None,
    provides: Iterable[str] | None = None,
    needs: Needs | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Case]:
    """One case per check of this kind, for a component (or, with kind "plugin", for a plugin).

    Args:
        kind: one of `KINDS`.
        component: the name of an installed component or plugin; or a class, with its `config` and claims.
        config: options: values for a named component, a `Config` for either.
        size: a preset of the component's config class.
        provides, needs: what a bare class claims; a named component brings its own.
        expected_failures: check name -> reason. Such a check must fail; if it passes, that is a failure.

    Raises:
        ValueError: for an unknown kind, or an expected failure without a check or reason.
        LookupFailure: for a component that no installed plugin offers.
    """
    if kind not in KINDS:
        raise ValueError(f"the kit knows no kind '{kind}'; it knows {', '.join(KINDS)}")
    subject: Any
    if kind == "plugin":
        subject = plugin_subject(str(component))
    else:
        subject = subject_of(kind, component, config=config, size=size, provides=provides, needs=needs)
    return make_cases(subject, KINDS[kind], expected_failures)


def plugin_cases(
    name: str, specs: Iterable[ComponentSpec], module: str, *, expected_failures: Mapping[str, str] | None = None
) -> list[Case]:
    """The plugin checks for a plugin that is not installed: its specs and its entry module."""
    return make_cases(plugin_subject(name, specs, module), KINDS["plugin"], expected_failures)


def run(kind: str, component: str | type[Any], **options: Any) -> Report:
    """Run every check (see `cases` for the options) and gather the results. Prints nothing."""
    return report(cases(kind, component, **options))
