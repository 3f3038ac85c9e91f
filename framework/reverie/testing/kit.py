"""The machinery of the conformance kit: checks, cases, violations. No pytest here."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reverie.extension.names import suggest
from reverie.testing.report import Outcome, Report

PAGE = "docs/contracts.md"


class Violation(AssertionError):
    """A property does not hold. The message holds the numbers."""


class ConformanceFailure(AssertionError):
    """What a failing case raises: the property, what was seen, and the page that explains it."""


@dataclass(frozen=True)
class Check:
    """One property of one kind of component.

    Args:
        kind: the kind of component it is about, or `"plugin"`.
        name: what `expected_failures` calls it.
        function: takes the bench of the component and raises `Violation` when the property does not hold.
        requires: capabilities without which the check does not apply.
        when: a further condition on the subject.
    """

    kind: str
    name: str
    function: Callable[[Any], None]
    requires: frozenset[str]
    when: Callable[[Any], bool] | None

    @property
    def statement(self) -> str:
        """The property in one sentence."""
        return self._paragraphs()[0]

    @property
    def reason(self) -> str:
        """Why it matters; may be empty."""
        return " ".join(self._paragraphs()[1:])

    @property
    def page(self) -> str:
        """Where the documentation explains it."""
        return f"{PAGE}#{self.kind}-{self.name}"

    def gate(self, subject: Any) -> str:
        """Why the check does not apply to a subject; empty where it does."""
        missing = sorted(self.requires - subject.provides)
        if missing:
            return f"does not provide {', '.join(missing)}"
        if self.when is not None and not self.when(subject):
            return "does not declare what this check is about"
        return ""

    def _paragraphs(self) -> list[str]:
        text = self.function.__doc__ or ""
        return [" ".join(part.split()) for part in text.strip().split("\n\n")]


_checks: dict[str, dict[str, Check]] = {}


def check(
    kind: str, *, requires: Sequence[str] = (), when: Callable[[Any], bool] | None = None
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a function as the check of its own name. Its docstring states the property, then why it matters."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _checks.setdefault(kind, {})[function.__name__] = Check(
            kind, function.__name__, function, frozenset(requires), when
        )
        return function

    return register


def checks_of(kind: str) -> dict[str, Check]:
    """All checks of a kind, by name, in the order in which they were written."""
    return dict(_checks.get(kind, {}))


@dataclass(frozen=True)
class Case:
    """One check of one component: what a test runs. `str(case)` is a good test id."""

    check: Check
    subject: Any
    bench: Callable[[Any], Any]
    expected: str | None = None

    def __str__(self) -> str:
        return f"{self.check.kind}-{self.subject.name}-{self.check.name}"

    def run(self) -> None:
        """Raise `ConformanceFailure` if the property does not hold, or holds although a failure is expected."""
        outcome = self.outcome()
        if outcome.status in ("failed", "unexpected pass"):
            raise ConformanceFailure(outcome.message)

    def outcome(self) -> Outcome:
        """The result without raising."""
        began = time.perf_counter()
        gate = self.check.gate(self.subject)
        found = "" if gate else self._problem()
        seconds = time.perf_counter() - began
        if gate:
            status, message = "not applicable", gate
        elif self.expected is not None:
            status = "expected failure" if found else "unexpected pass"
            message = self.expected if found else self._passes_after_all()
        else:
            status, message = ("failed", found) if found else ("passed", "")
        return Outcome(self.check.name, self.check.statement, status, message, self.check.page, seconds)

    def _problem(self) -> str:
        try:
            self.check.function(self.bench(self.subject))
        except Violation as violation:
            return self._message(str(violation))
        except Exception as error:  # noqa: BLE001 - whatever a component raises is a finding about it
            last = traceback.extract_tb(error.__traceback__)[-1]
            return self._message(
                f"it raised {type(error).__name__}: {error} ({last.filename}:{last.lineno} in {last.name})"
            )
        return ""

    def _message(self, seen: str) -> str:
        why = f"\n  why it matters: {self.check.reason}" if self.check.reason else ""
        return (
            f"{self.check.kind} '{self.subject.name}' fails the check `{self.check.name}`.\n"
            f"  property: {self.check.statement}\n  seen: {seen}{why}\n  more: {self.check.page}"
        )

    def _passes_after_all(self) -> str:
        return (
            f"{self.check.kind} '{self.subject.name}' passes the check `{self.check.name}`, although a failure is "
            f"expected because: {self.expected}\n  fix: remove '{self.check.name}' from expected_failures"
        )


def make_cases(subject: Any, bench: Callable[[Any], Any], expected_failures: Mapping[str, str] | None) -> list[Case]:
    """One case per check of the subject's kind.

    Raises:
        ValueError: for an expected failure that names no check, does not apply, or gives no reason.
    """
    expected, known = dict(expected_failures or {}), checks_of(subject.kind)
    for name, reason in expected.items():
        if name not in known:
            raise ValueError(f"expected_failures: no check '{name}' for {subject.kind}. {suggest(name, list(known))}")
        if not reason.strip():
            raise ValueError(f"expected_failures: give the reason why '{subject.name}' fails '{name}'")
        gate = known[name].gate(subject)
        if gate:
            raise ValueError(f"expected_failures: '{name}' does not apply to '{subject.name}': it {gate}")
    return [Case(each, subject, bench, expected.get(name)) for name, each in known.items()]


def report(cases: Sequence[Case]) -> Report:
    """Run cases and gather what came out."""
    name = f"{cases[0].check.kind} '{cases[0].subject.name}'" if cases else "nothing"
    return Report(name, [case.outcome() for case in cases])
