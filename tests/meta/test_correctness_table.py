"""docs/correctness.md says what is true: files, functions and tests exist, and each row is a mutation that is run."""

from __future__ import annotations

import ast
import json
import re

import pytest
from mutating import function_of
from notes import MUTATIONS, TITLES
from sources import ROOT
from table import DOCUMENT, rendered, row, written


def named_tests() -> list[str]:
    """All tests that the document names, in its table and around it, as pytest would call them."""
    text = DOCUMENT.read_text(encoding="utf-8").replace(written(DOCUMENT.read_text(encoding="utf-8")), "")
    around = re.findall(r"`(tests/[\w/]+\.py::\w+)`", text)
    return [*around, *(test for mutation in MUTATIONS for test in mutation.tests)]


def test_the_table_is_that_of_the_mutations() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert written(text) == rendered(), "run `python tests/meta/table.py`"


@pytest.mark.parametrize("file", sorted({test.partition("::")[0] for test in named_tests()}))
def test_the_tests_that_it_names_exist(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for one, _, name in (test.partition("::") for test in named_tests()) if one == file} <= there


def test_each_note_has_its_sentences() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    part = text[text.index("## Sentence by sentence") : text.index("## The mistakes")]
    sections = re.split(r"^(?=\d+\. \*\*)", part, flags=re.MULTILINE)[1:]
    assert [int(section.partition(".")[0]) for section in sections] == list(TITLES)
    assert all("::test_" in section for section in sections)


def test_the_functions_that_it_names_exist_and_stand_in_the_repository() -> None:
    for mutation in MUTATIONS:
        function_of(mutation.target)
        assert "framework/" in row(mutation) or "plugins/" in row(mutation)


def test_files_that_the_text_around_the_table_names_exist() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").replace(rendered(), "")
    named = [part for part in text.split("`")[1::2] if part.endswith((".py", ".md")) and not set("* ") & set(part)]
    assert named
    assert all((ROOT / name).is_file() for name in named), named


def test_committed_learning_curves_say_how_they_were_played() -> None:
    """Note 20: a finished seed whose line does not name its mode could be compared with anything."""
    for file in sorted((ROOT / "benchmarks" / "learning").glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert json.loads(line).get("mode") in ("mode", "sample"), f"{file.name}:{number}"
