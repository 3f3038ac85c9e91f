"""kill -9 at random moments, at every change of the folder and in every phase: the resumed run is the same run."""

import random
import signal
from functools import cache
from pathlib import Path

import pytest
from families import FAMILIES

from nursery import Nursery
from tiny_runs import differences, final_state, rows_of

KILLS = 50
IN_SHORT = max(10, len(FAMILIES))
"""Kills in `make test`, at least one for each family; all of them in `make test-slow`."""

SIGKILL = [int(signal.SIGKILL)]


def uninterrupted(nursery: Nursery, family: str, folder: Path, *overrides: str) -> tuple[Path, float]:
    """A run that nobody disturbs, and how long it took."""
    alone = folder / "alone"
    outcome = nursery.run("deeds:begin", family=family, run=alone, overrides=overrides)
    assert outcome.code == 0, outcome.said
    return alone, outcome.seconds


def same(one: Path, other: Path) -> list[str]:
    """Where two runs differ: weights, optimizers, counters, replay, generators, tables."""
    found = differences(final_state(one), final_state(other))
    return found if rows_of(one) == rows_of(other) else [*found, "the lines of metrics differ"]


def killed_and_resumed(nursery: Nursery, family: str, run: Path, lasted: float, chance: random.Random) -> int:
    """Kill a run at a random moment, and one time in three kill the resumed one too; how many kills hit."""
    hits, deed = 0, "deeds:begin"
    for _ in range(1 + (chance.random() < 1 / 3)):
        moment = chance.uniform(0.03, 0.9) * lasted
        outcome = nursery.run(deed, family=family, run=run, overrides=[], kill_after=moment)
        hits += outcome.code == -9
        assert outcome.code in (-9, 0), outcome.said
        deed = "deeds:go_on"
    ended = nursery.run("deeds:go_on", family=family, run=run, overrides=[])
    assert ended.code == 0, ended.said
    return hits


def kill_often(nursery: Nursery, family: str, folder: Path, kills: int) -> int:
    alone, lasted = uninterrupted(nursery, family, folder)
    chance = random.Random(f"{family}-{kills}")
    hits = 0
    for number in range(kills):
        run = folder / f"killed-{number}"
        hits += killed_and_resumed(nursery, family, run, lasted, chance)
        assert same(alone, run) == [], f"{family}, kill {number}"
    return hits


def shared_out(kills: int) -> dict[str, int]:
    """How many kills each family gets."""
    return {name: kills // len(FAMILIES) + (i < kills % len(FAMILIES)) for i, name in enumerate(FAMILIES)}


@pytest.mark.timeout(3600)
def test_some_kills_over_all_families(nursery: Nursery, tmp_path: Path) -> None:
    hits = 0
    for index, (family, kills) in enumerate(shared_out(IN_SHORT).items()):
        (tmp_path / str(index)).mkdir()
        hits += kill_often(nursery, family, tmp_path / str(index), kills)
    assert hits >= IN_SHORT // 2, "most runs ended before they were killed"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
def test_fifty_kills_over_all_families(nursery: Nursery, tmp_path: Path, family: str) -> None:
    kills = shared_out(KILLS)[family]
    assert kill_often(nursery, family, tmp_path, kills) >= kills // 2


# At every change that a run makes to its folder.

SHORT = ("stages.0.until.env_steps=12", "stages.1.until.env_steps=12", "evaluation.every=null", "checkpoints.ticks=5")
EVERY = "categorical states, discrete actions"


@pytest.fixture(scope="module")
def short_run(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """A short run and all changes that it made, in order."""
    alone = tmp_path_factory.mktemp("short") / "alone"
    outcome = nursery.run("deeds:operations", family=EVERY, run=alone, overrides=SHORT)
    assert outcome.answer is not None, outcome.said
    return alone, [tuple(entry) for entry in outcome.answer]


def third_save(changes: list[tuple[str, str]]) -> range:
    """The changes from one checkpoint's being in place to the next one's: a whole save, what it prunes included."""
    places = [i for i, (kind, path) in enumerate(changes) if kind == "rename" and path == "checkpoints/.staging"]
    return range(places[1] + 1, places[2] + 2)


def die_and_compare(nursery: Nursery, alone: Path, run: Path, number: int, change: tuple[str, str]) -> None:
    died = nursery.run("deeds:die_at_operation", family=EVERY, run=run, overrides=SHORT, number=number)
    assert died.code == -9, died.said
    ended = nursery.run("deeds:go_on", family=EVERY, run=run, overrides=SHORT)
    assert ended.code == 0, f"{change}: {ended.said}"
    assert same(alone, run) == [], change


def test_a_save_changes_the_folder_only_in_ways_that_are_watched(short_run) -> None:
    _, changes = short_run
    kinds = {kind for kind, _ in changes}
    assert kinds == {"folder", "write", "append", "sync", "sync folder", "rename", "remove", "remove folder"}
    save = [changes[i] for i in third_save(changes)]
    assert len(save) > 30
    written = [path for kind, path in save if kind == "write"]
    for name in ("weights.safetensors", "extra.pt", "training.pt", "process-0.pt", "manifest.json"):
        assert f"checkpoints/.staging/{name}" in written
    assert any(path.startswith("replay/.staged-") for path in written)


def test_kills_at_some_changes_inside_a_save(nursery: Nursery, short_run, tmp_path: Path) -> None:
    alone, changes = short_run
    save = third_save(changes)
    one_of_each = {(changes[i][0], changes[i][1].split("/")[0]): i for i in save}
    for number in sorted(random.Random(0).sample(sorted(one_of_each.values()), 5)):
        die_and_compare(nursery, alone, tmp_path / str(number), number, changes[number])


PARTS = 8
"""Together they kill at every change; each says how far it came."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_kills_at_every_change_of_a_whole_run(nursery: Nursery, short_run, tmp_path: Path, part: int) -> None:
    alone, changes = short_run
    for number in range(part, len(changes), PARTS):
        die_and_compare(nursery, alone, tmp_path / str(number), number, changes[number])


# In every phase.

PLANS = "planning by shooting"
PHASES = [
    ("prefill", EVERY),
    ("collection", EVERY),
    ("middle of an update", EVERY),
    ("evaluation", EVERY),
    ("before a border", "stages and rounds"),
    ("after a border", "stages and rounds"),
    ("planning", PLANS),
    ("generation", "no gradients"),
]
QUICK = ("prefill", "middle of an update", "evaluation", "after a border")


@pytest.fixture(scope="module")
def alone(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory):
    """Uninterrupted runs by family."""

    @cache
    def of(family: str) -> Path:
        return uninterrupted(nursery, family, tmp_path_factory.mktemp("alone"))[0]

    return of


@pytest.mark.parametrize(
    ("place", "family"),
    [pytest.param(*phase, marks=() if phase[0] in QUICK else pytest.mark.slow) for phase in PHASES],
)
def test_killed_in_a_phase(nursery: Nursery, alone, tmp_path: Path, place: str, family: str) -> None:
    run = tmp_path / "run"
    died = nursery.run("deeds:hit_in", family=family, run=run, overrides=[], place=place, numbers=SIGKILL)
    assert died.code == -9, died.said
    ended = nursery.run("deeds:go_on", family=family, run=run, overrides=[])
    assert ended.code == 0, ended.said
    assert same(alone(family), run) == []


def test_resuming_may_be_killed_and_repeated(nursery: Nursery, alone, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert nursery.run("deeds:hit_in", family=EVERY, run=run, overrides=[], place="update", numbers=SIGKILL).code == -9
    for place in ("restoring", "restoring", "saving"):
        died = nursery.run("deeds:hit_in", family=EVERY, run=run, overrides=[], place=place, numbers=SIGKILL)
        assert died.code == -9, died.said
    assert nursery.run("deeds:go_on", family=EVERY, run=run, overrides=[]).code == 0
    assert same(alone(EVERY), run) == []


def contents(run: Path) -> dict[str, bytes]:
    """All files but the lock and who held it."""
    files = (path for path in run.rglob("*") if path.is_file() and not path.name.startswith((".lock", ".holder")))
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_resuming_a_finished_run_changes_nothing(nursery: Nursery, alone) -> None:
    run = alone(EVERY)
    before = contents(run)
    for _ in range(2):
        assert nursery.run("deeds:go_on", family=EVERY, run=run, overrides=[]).code == 0
    assert contents(run) == before


def test_a_finished_run_without_its_status_is_finished_still(nursery: Nursery, alone, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(alone(EVERY), run)
    (run / "status.json").unlink()
    assert nursery.run("deeds:go_on", family=EVERY, run=run, overrides=[]).code == 0
    assert same(alone(EVERY), run) == []
