"""Each correctness note is broken on purpose, and the tests that prove it have to notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutating import Mutation, Stale, applied, function_of, mutated_code, verdicts
from notes import MUTATIONS, TITLES

KL = "tests/golden/test_kl.py::test_v3_floors_each_step_and_each_term"


@pytest.mark.parametrize("note", list(TITLES), ids=lambda note: f"note {note}")
def test_each_mutation_is_noticed_by_each_of_its_tests(note: int, tmp_path: Path) -> None:
    mine = [mutation for mutation in MUTATIONS if mutation.note == note]
    found = verdicts(mine, tmp_path / "nested")
    missed = [f"'{one.mutation.name}' -> {one.test}: {one.outcome}" for one in found if one.outcome != "noticed"]
    assert not missed, f"note {note} ({TITLES[note]}): a wrong formula went unnoticed\n" + "\n".join(missed)


def test_every_note_has_a_mutation_and_names_tell_them_apart() -> None:
    assert {mutation.note for mutation in MUTATIONS} == set(TITLES) == set(range(1, 29))
    assert len({(mutation.note, mutation.name) for mutation in MUTATIONS}) == len(MUTATIONS)
    assert all(mutation.tests and mutation.old != mutation.new for mutation in MUTATIONS)


def mutation(**changes: object) -> Mutation:
    given = {
        "note": 9,
        "name": "test",
        "harm": "",
        "target": "reverie.nn.kl:kl_balanced",
        "old": "dyn * dynamics",
        "new": "2 * dyn * dynamics",
        "tests": (KL,),
    }
    return Mutation(**{**given, **changes})  # type: ignore[arg-type]


def test_the_guard_tells_apart_what_is_noticed_passes_crashes_and_is_missing(tmp_path: Path) -> None:
    """The same right formula in other words passes, an error is no proof, and a misspelt test is none either."""
    cases = [
        mutation(),
        mutation(old="dyn * dynamics", new="dynamics * dyn"),
        mutation(old="dyn * dynamics", new="dyn * dinamics"),
        mutation(tests=("tests/golden/test_kl.py::test_that_nobody_wrote",)),
    ]
    outcomes = [verdicts([case], tmp_path / str(index))[0].outcome for index, case in enumerate(cases)]
    assert outcomes[:2] == ["noticed", "passed"]
    assert outcomes[2].startswith("call: NameError")
    assert outcomes[3] == "no such test"


def test_a_mutation_is_gone_afterwards_even_if_something_raises() -> None:
    target = function_of("reverie.nn.kl:kl_balanced")
    right, during = target.__code__, []

    def fail() -> None:
        with applied(mutation()):
            during.append(target.__code__)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert during[0] is not right
    assert target.__code__ is right


@pytest.mark.parametrize("old", ["what nobody wrote", "kl("])
def test_a_mutation_whose_text_is_not_there_exactly_once_says_so(old: str) -> None:
    with pytest.raises(Stale, match=r"times in reverie\.nn\.kl:kl_balanced"):
        mutated_code(mutation(old=old))
