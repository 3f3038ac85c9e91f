"""What a conformance run found, printable with rich or as plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "unexpected pass": "bold red",
    "expected failure": "yellow",
    "not applicable": "dim",
}


@dataclass(frozen=True)
class Outcome:
    """The result of one check: `status` is one of passed, failed, expected failure, unexpected pass, not applicable."""

    check: str
    statement: str
    status: str
    message: str
    page: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status not in ("failed", "unexpected pass")


@dataclass(frozen=True)
class Report:
    """All outcomes of one component. `rich.print(report)` shows a table, `str(report)` the failures in full."""

    subject: str
    outcomes: list[Outcome]

    @property
    def ok(self) -> bool:
        """Whether nothing failed (expected failures and checks that do not apply are fine)."""
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.ok]

    @property
    def failed(self) -> set[str]:
        """The names of the checks that failed."""
        return {outcome.check for outcome in self.failures}

    def raise_if_failed(self) -> None:
        """Raise `ConformanceFailure` with every failure in full."""
        if not self.ok:
            from reverie.testing.kit import ConformanceFailure

            raise ConformanceFailure(str(self))

    def __str__(self) -> str:
        counts = {status: sum(outcome.status == status for outcome in self.outcomes) for status in _COLOURS}
        head = f"{self.subject}: " + ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return "\n\n".join([head, *(outcome.message for outcome in self.failures)])

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title=self.subject, title_justify="left")
        for column in ("check", "result", "property, or what was seen"):
            table.add_column(column)
        for outcome in self.outcomes:
            text = outcome.message if outcome.message else outcome.statement
            table.add_row(outcome.check, f"[{_COLOURS[outcome.status]}]{outcome.status}[/]", _plain(text))
        return table


def _plain(text: str) -> str:
    """Text whose square brackets rich does not read as markup."""
    from rich.markup import escape

    return escape(text)
