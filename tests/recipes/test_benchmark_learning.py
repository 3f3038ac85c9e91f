"""`benchmarks/learning.py`: what counts as solved, which runs it starts and ends, and what it writes down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import learning
import learning_report

ROW = learning.Row("dreamer", "cartpole", 100, 1_000, 250, (7, 8))
TRAINER = """
import json, pathlib, signal, sys, time
run, returns = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: ((run / "stopped").touch(), sys.exit(143)))
(run / "metrics").mkdir(parents=True)
with (run / "metrics" / "evaluations.jsonl").open("w", buffering=1) as file:
    for i, mean in enumerate(returns):
        file.write(json.dumps({"env_steps": 250 * (i + 1), "mean": mean}) + "\\n")
if len(returns) < 4:
    time.sleep(60)
"""
"""A trainer that has its evaluations at once, and before the end of the row waits to be stopped."""


def finished(row: learning.Row, seed: int, how: learning.How) -> dict[str, object]:
    """A line, without the run."""
    return {"row": row.name, "seed": seed, "frames": row.frames, "overrides": list(how.overrides)}


def told(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["learning.py", *words])
    monkeypatch.setitem(learning.TABLES, "dreamer", (ROW,))
    monkeypatch.setattr(learning, "measure", finished)
    learning.main()


def written(path: Path) -> list[tuple[int, int]]:
    return [(line["seed"], line["frames"]) for line in learning.lines(path)]


def reported(lines: Path) -> str:
    """The table of Dreamer from a file of lines."""
    return learning_report.report(learning.TABLES["dreamer"], list(learning.lines(lines)))


@pytest.mark.parametrize(
    ("returns", "step", "held"),
    [
        ([100, 100, 99, 100, 100, 100, 0], 1_500, 100),
        ([300, 99, 300, 300, 99], None, 99),
        ([100, 120], None, float("-inf")),
    ],
)
def test_solved_is_the_third_in_a_row(returns: list[float], step: int | None, held: float) -> None:
    curve = [(250 * (i + 1), value) for i, value in enumerate(returns)]
    assert learning.solved_at(curve, 100) == step
    assert learning.held(curve) == held


def test_finished_seeds_are_skipped_and_the_budget_is_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lines.jsonl"
    told(monkeypatch, "dreamer", "--seeds", "8", "--frames", "500", "--out", str(out))
    assert written(out) == [(8, 500)]
    told(monkeypatch, "dreamer", "--frames", "9000", "--out", str(out))  # never longer than the row
    assert written(out) == [(8, 500), (7, 1_000)]


def test_a_row_that_is_not_there_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        told(monkeypatch, "dreamer", "--row", "cartpol", "--out", str(tmp_path / "lines.jsonl"))
    assert stop.value.code == 2
    assert "dreamer has no row 'cartpol'; it has dreamer/cartpole" in capsys.readouterr().err


def test_overrides_do_not_reach_the_committed_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        told(monkeypatch, "dreamer", "size=s")
    assert "give --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("returns", "stopped"),
    [([100, 100, 100], True), ([0, 100, 100, 100], False)],
    ids=["solved in the middle", "solved by the last evaluation"],
)
def test_until_solved_interrupts_a_run_that_would_go_on(tmp_path: Path, returns: list[float], stopped: bool) -> None:
    run = tmp_path / "run"
    learning.train([sys.executable, "-c", TRAINER, str(run), json.dumps(returns)], run, ROW, until_solved=True)
    assert (run / "stopped").exists() == stopped
    assert learning.curve_of(learning.evaluations(run))[-1] == (250 * len(returns), 100)


def test_a_run_that_fails_ends_the_table(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        learning.train([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, ROW, until_solved=True)


def test_a_line_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluations.jsonl").write_text('{"env_steps": 250, "mean": 9.0}\n{"env_steps": 50')
    assert learning.curve_of(learning.evaluations(tmp_path)) == [(250, 9.0)]


def test_the_report_counts_seeds_and_compares_errors_with_the_better_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(learning.TABLES, "dreamer", (ROW,))
    out = tmp_path / "lines.jsonl"
    slow = {"seed": 8, "solved_at": None, "held": 60.0, "cpu_minutes": 3.0}
    fast = {"seed": 7, "solved_at": 750, "held": 500, "cpu_minutes": 1.0}
    slow["world_model"] = {"5": [3, 2, 4], "15": [1, 2, 4]}  # the model, copy-last, the mean
    fast["world_model"] = {"5": [1, 4, 2], "15": [1, 4, 1]}
    out.write_text("".join(json.dumps({"row": ROW.name, "frames": 1_000, **line}) + "\n" for line in (slow, fast)))
    assert reported(out).splitlines()[-1] == (
        "| dreamer | cartpole | 100 | 1,000 | 1 of 2 | 750 | 500, 60 | 1.0 to 3.0 | 1.00 (1 of 2), 0.75 (1 of 2) | - |"
    )


def test_an_error_that_does_not_apply_at_a_horizon_is_left_out(tmp_path: Path) -> None:
    line = {"row": "dreamer/cartpole", "seed": 7, "frames": 9, "solved_at": 9, "held": 1, "cpu_minutes": 1.0}
    (tmp_path / "lines.jsonl").write_text(json.dumps({**line, "world_model": {"5": [1, 2, 4]}}) + "\n")
    assert reported(tmp_path / "lines.jsonl").endswith("| 0.50 (1 of 1), - | - |")


def test_kept_runs_are_judged_again_and_other_lines_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, row = tmp_path / "lines.jsonl", "dreamer/dmc/finger_spin"
    old = [{"row": row, "seed": seed, "world_model": {}, "commit": "old", "curve": [[250, 9.0]]} for seed in range(4)]
    for seed, mean in ((1, 9.0), (2, 9.0), (3, 8.0)):  # none of seed 0 was kept, and that of seed 3 is another run
        run = tmp_path / f"dreamer-dmc-finger_spin-{seed}"
        (run / "checkpoints").mkdir(parents=True)
        (run / "metrics").mkdir()
        (run / "metrics" / "evaluations.jsonl").write_text(json.dumps({"env_steps": 250, "mean": mean}) + "\n")

    def judge(run: Path) -> dict[str, object]:
        with out.open("a") as file:  # a table that runs at the same time
            file.write(json.dumps({**old[0], "seed": 9}) + "\n")
        return {"world_model": {"5": [1, 1, 1]}}

    monkeypatch.setattr(learning, "judge", judge)
    out.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert learning.judge_again(out, tmp_path, [row], [0, 1, 3]) == 1
    found = list(learning.lines(out))
    assert [found[0], *found[2:4]] == [old[0], *old[2:]]
    assert found[1] == {**old[1], "world_model": {"5": [1, 1, 1]}, "judged": learning.provenance()["commit"]}
    assert [line["seed"] for line in found] == [0, 1, 2, 3, 9]
    assert learning.judge_again(out, tmp_path, ["dreamer/pendulum"], None) == 0
