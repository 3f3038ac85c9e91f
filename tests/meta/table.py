"""The table of docs/correctness.md, made from the mutations. `python tests/meta/table.py` writes it anew."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from mutating import Mutation, function_of
from notes import MUTATIONS
from sources import ROOT

DOCUMENT = ROOT / "docs" / "correctness.md"
BEGIN, END = "<!-- table: begin (python tests/meta/table.py) -->", "<!-- table: end -->"
COLUMNS = ("Note", "The mistake", "What it does in the field", "Decided in", "Noticed by", "Mutation")


def code(text: str) -> str:
    """Source text in a cell of a table."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else "nothing"


def decided_in(mutation: Mutation) -> str:
    """`file`: `function`."""
    file = Path(function_of(mutation.target).__code__.co_filename).resolve().relative_to(ROOT)
    return f"`{file}`: `{mutation.target.partition(':')[2]}`"


def noticed_by(mutation: Mutation) -> str:
    """The tests, by file."""
    parts = []
    for file, tests in groupby(mutation.tests, key=lambda test: test.partition("::")[0]):
        names = ", ".join(f"`{test.partition('::')[2]}`" for test in tests)
        parts.append(f"`{file}`: {names}")
    return "; ".join(parts)


def row(mutation: Mutation) -> str:
    return line(
        str(mutation.note),
        mutation.name,
        mutation.harm,
        decided_in(mutation),
        noticed_by(mutation),
        f"{code(mutation.old)} becomes {code(mutation.new)}",
    )


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def rendered() -> str:
    """One row for each mutation."""
    ordered = sorted(MUTATIONS, key=lambda mutation: mutation.note)
    head = line(*COLUMNS) + line(*["---"] * len(COLUMNS))
    return f"{BEGIN}\n\n{head}{''.join(map(row, ordered))}\n{END}"


def written(document: str) -> str:
    """The part of the document that is made from the mutations."""
    begin, end = document.index(BEGIN), document.index(END) + len(END)
    return document[begin:end]


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text.replace(written(text), rendered()), encoding="utf-8")
