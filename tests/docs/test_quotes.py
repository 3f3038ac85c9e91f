"""Code that the documents quote is the code that runs: a block ```python from=FILE holds consecutive lines of FILE."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUOTE = re.compile(r"^```python from=(?P<file>\S+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTES = [
    (document.relative_to(ROOT).as_posix(), match["file"], match["body"])
    for document in sorted((ROOT / "docs").rglob("*.md"))
    for match in QUOTE.finditer(document.read_text())
]


@pytest.mark.parametrize(("document", "file", "body"), QUOTES)
def test_quoted_lines_stand_in_the_file(document: str, file: str, body: str) -> None:
    assert body.strip()
    assert body in (ROOT / file).read_text(), f"{document} quotes lines that {file} no longer holds:\n{body}"


def test_a_page_about_formulas_quotes_them() -> None:
    assert sum(document == "docs/recipes/dreamer.md" for document, _, _ in QUOTES) >= 8
