"""SIGTERM, SIGUSR1 and Ctrl-C in every phase of a run: saved, told, and gone on with to the same numbers."""

import signal
from functools import cache
from pathlib import Path

import pytest

from nursery import Nursery
from reverie.training.run_folder import read_status
from tiny_runs import differences, final_state, rows_of

EVERY, PLANS, STAGES, CLIMBS = (
    "categorical states, discrete actions",
    "planning by shooting",
    "stages and rounds",
    "no gradients",
)
TERM, USR1, INT = signal.SIGTERM, signal.SIGUSR1, signal.SIGINT
PHASES = {
    "prefill": EVERY,
    "collection": "several environments, long ticks",
    "planning": PLANS,
    "middle of an update": EVERY,
    "evaluation": EVERY,
    "before a border": STAGES,
    "after a border": STAGES,
    "saving": EVERY,
    "generation": CLIMBS,
}
QUICK = {("prefill", TERM), ("planning", INT), ("middle of an update", TERM), ("after a border", USR1)}
"""With `make test`; the others with `make test-slow`."""
ALL = [
    pytest.param(place, number, marks=() if (place, number) in QUICK else pytest.mark.slow, id=f"{place}-{number.name}")
    for place in PHASES
    for number in (TERM, USR1, INT)
]


@pytest.fixture(scope="module")
def alone(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory):
    @cache
    def of(family: str) -> Path:
        run = tmp_path_factory.mktemp("alone") / "run"
        ended = nursery.run("deeds:begin", family=family, run=run, overrides=[])
        assert ended.code == 0, ended.said
        return run

    return of


@pytest.mark.parametrize(("place", "number"), ALL)
def test_a_signal_saves_and_the_run_goes_on(
    nursery: Nursery, alone, tmp_path: Path, place: str, number: signal.Signals
) -> None:
    run, family = tmp_path / "run", PHASES[place]
    options = {"family": family, "run": run, "overrides": []}
    hit = nursery.run("deeds:hit_in", **options, place=place, numbers=[int(number)])
    assert hit.code == (130 if number == INT else 143), hit.said
    status = read_status(run)
    assert status["status"] == "interrupted"
    assert status["reason"] == ("Ctrl-C" if number == INT else number.name)
    ended = nursery.run("deeds:go_on", **options)
    assert ended.code == 0, ended.said
    assert read_status(run)["status"] == "completed"
    assert differences(final_state(alone(family)), final_state(run)) == []
    assert rows_of(alone(family)) == rows_of(run)


@pytest.mark.parametrize("place", ["collection", pytest.param("evaluation", marks=pytest.mark.slow)])
def test_a_second_ctrl_c_stops_at_once_and_loses_nothing_that_was_saved(
    nursery: Nursery, alone, tmp_path: Path, place: str
) -> None:
    run = tmp_path / "run"
    options = {"family": EVERY, "run": run, "overrides": []}
    hit = nursery.run("deeds:hit_in", **options, place=place, numbers=[int(INT), int(INT)])
    assert hit.code == 130
    assert read_status(run)["reason"] == "a second Ctrl-C"
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert nursery.run("deeds:go_on", **options).code == 0
    assert before, "there had been a checkpoint"
    assert differences(final_state(alone(EVERY)), final_state(run)) == []


def test_a_signal_while_a_worker_hangs_ends_with_the_time_out(nursery: Nursery, tmp_path: Path) -> None:
    """The flag is looked at between steps, and a step is over when its worker's time is."""
    overrides = ["env.fault=sleep", "env.every=1", "environments.workers=processes", "environments.timeout=2"]
    run, notes = tmp_path / "run", tmp_path / "workers"
    ended = nursery.run("deeds:train_stumbling", run=run, overrides=overrides, notes=notes)
    assert ended.code == 1
    assert "no answer within 2 s to step" in ended.said
    assert read_status(run)["status"] == "failed"
    assert ended.seconds < 60
