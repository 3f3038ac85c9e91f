"""Mistakes that a person can mend. The command line prints them without a traceback and exits with code 2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, where, why, and the fix.

    Args:
        what: one sentence that names the thing, such as `dynamics: unknown option 'detr'`.
        where: `file:line`, or `command line`, or a path; empty where there is no place.
        key: the key or slot, such as `dynamics.detr`.
        why: one sentence, may be empty.
        fix: what to write instead, may be empty.
    """

    what: str
    where: str = ""
    key: str = ""
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return "\n".join(
            [head, *(f"    {label}: {text}" for label, text in (("why", self.why), ("fix", self.fix)) if text)]
        )


class ReverieError(Exception):
    """Base of every error that Reverie raises on purpose. `str(error)` is what a person should read."""

    exit_code = 2


class RecipeError(ReverieError):
    """A recipe cannot run. Carries every problem that was found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class PluginError(ReverieError):
    """A plugin that was asked for cannot be used."""


class RunError(ReverieError):
    """A run folder cannot be read, written or resumed."""


class EnvironmentFault(ReverieError):
    """An environment gave or did something that it may not. Names the environment, the step and the entry.

    Args:
        message: for a person.
        evidence: where a value is not finite, the arrays of that step by name; None for every other fault.
        place: which step it was, in letters that a file name may have.
    """

    def __init__(self, message: str, *, evidence: Mapping[str, Any] | None = None, place: str = "") -> None:
        super().__init__(message)
        self.evidence = evidence
        self.place = place


class NumericalFault(ReverieError):
    """A loss or gradient is not finite."""
