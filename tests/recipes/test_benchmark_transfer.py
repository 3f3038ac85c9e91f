"""The two sides of `benchmarks/transfer.py` differ in what is known, and in nothing else; how its lines are read."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def transfer() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_transfer", BENCHMARKS / "transfer.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


def prepared(words: tuple[str, ...]) -> Recipe:
    """Without the runs that slots are taken from."""
    return prepare(words[0], [word for word in words[1:] if "{run}" not in word], plugins=load_plugins())


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """All but how often it is evaluated, which the benchmark says on the command line."""
    return recipe.settings.model_dump(exclude={"evaluation": {"every"}})


@pytest.mark.parametrize("name", ["lean", "long"])
def test_both_sides_are_equal_but_for_what_is_known(transfer: ModuleType, name: str) -> None:
    (journey,) = [one for one in transfer.JOURNEYS if one.name == name]
    scratch, second = prepared(journey.scratch), prepared(journey.second)
    assert settings_of(scratch) == settings_of(second)
    known = {word.partition(".from_run=")[0].replace(".", "/") for word in journey.second if "{run}" in word}
    assert known == {"encoder", "dynamics", "decoder"}
    apart = {
        slot
        for slot in {*scratch.choices, *second.choices}
        if slot not in known and scratch.choices.get(slot) != second.choices.get(slot)
    }
    assert apart <= {"learners/model", "objectives/reconstruction"}, "what learns of the world, and how"
    for slot in known:
        assert scratch.choices[slot].config == second.choices[slot].config
    ours, theirs = (recipe.learner_config("model") for recipe in (scratch, second))
    assert ours.model_copy(update={"trains": (), "objectives": ()}) == theirs.model_copy(
        update={"trains": (), "objectives": ()}
    )


def test_a_frozen_world_learns_no_more_and_another_body_does(transfer: ModuleType) -> None:
    frozen, free = prepared(("transfer",)), prepared(("transfer_body",))
    world = {"encoder", "dynamics", "decoder"}
    assert {slot for slot, choice in frozen.choices.items() if choice.freeze} == world
    assert not [slot for slot, choice in free.choices.items() if choice.freeze]
    assert set(frozen.learner_config("model").trains) == {"heads/reward", "heads/continue"}
    assert set(free.learner_config("model").trains) == world | {"heads/reward", "heads/continue"}


def arm(learned: int | None, ended: int) -> dict[str, Any]:
    return {"learned_at": learned, "ended_at": ended}


@pytest.mark.parametrize(
    ("scratch", "second", "says"),
    [
        (arm(1200, 1200), arm(400, 400), "3"),
        (arm(None, 3000), arm(500, 500), "above 6"),
        (arm(1000, 1000), arm(None, 2000), "below 0.5"),
        (arm(None, 2000), arm(None, 2000), "-"),
    ],
)
def test_a_side_that_did_not_learn_makes_the_ratio_a_bound(
    transfer: ModuleType, scratch: dict[str, Any], second: dict[str, Any], says: str
) -> None:
    number = round(transfer.steps(scratch) / transfer.steps(second), 2)
    assert transfer.ratio({"scratch": scratch, "second": second, "ratio": number}) == says


def test_a_first_run_that_is_there_is_used_and_told_without_its_folder(transfer: ModuleType, tmp_path: Path) -> None:
    journey = transfer.JOURNEYS[0]
    run = tmp_path / "dreamer-pendulum-100"
    run.mkdir()
    (run / "status.json").write_text(json.dumps({"env_steps": 2010}))
    told = ["env=pendulum", "seed=100", f"run_dir={run}"]
    (run / "provenance.json").write_text(json.dumps({"overrides": told}))
    found, first = transfer.first_run(journey, 100, tmp_path)
    assert found == run
    assert first == {"steps": 2010, "command": "reverie train dreamer env=pendulum seed=100"}


def test_the_table_counts_the_first_run_where_it_says_so(transfer: ModuleType, tmp_path: Path) -> None:
    sides = {"scratch": {**arm(1600, 1600), "cpu_minutes": 1.0}, "second": {**arm(900, 900), "cpu_minutes": 0.5}}
    line = {"row": "transfer/lean", "seed": 100, "ratio": 1.78, "first": {"steps": 5000}, **sides}
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps(line) + "\n")
    (row,) = transfer.report(path).splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")[3:9]] == ["100", "1,600", "900", "1.78", "5,900", "1.0 and 0.5"]
