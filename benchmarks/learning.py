"""Does it learn? Runs the rows of a table, seed by seed, and appends one JSON line per finished seed.

    python benchmarks/learning.py dreamer                 # all rows of the table, seeds that are missing
    python benchmarks/learning.py dreamer --row pendulum --seeds 100 101
    python benchmarks/learning.py planning --row tdmpc2/pendulum
    python benchmarks/learning.py control                 # five tasks beside published curves: `published.py`
    python benchmarks/learning.py dreamer --report        # the table in Markdown, from the lines
    python benchmarks/learning.py dreamer --figure docs/images/dreamer_curves.png
    python benchmarks/learning.py planning --until-solved --keep runs/planning    # end at the solution; keep the runs
    python benchmarks/learning.py planning --judge runs/planning    # the kept runs' models by today's metrics

A row names a recipe, an environment and a bar; the shipped recipe runs with nothing else changed but its budget, the
evaluation schedule and the seed. Solved means that each of three evaluations in a row reached the threshold; the step
of the third counts. With `--until-solved` a run is interrupted (and saved) there, so that its CPU minutes are what the
solution cost; `--frames` gives all runs a smaller budget than their row's. Lines say where a run ended (`ended_at`).
Every run has one thread. Lines that exist are skipped, so that a table that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from learning_report import EPISODES, JUDGED, draw, report

HERE = Path(__file__).parent / "learning"
IN_A_ROW = 3
INTERRUPTED = 143
"""What `reverie train` answers to SIGTERM, its work saved."""
REVERIE = str(Path(sys.executable).with_name("reverie"))
SINGLE = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Row:
    """One line of the table: reach `threshold` within `frames`, on each of `seeds`."""

    recipe: str
    env: str
    threshold: float
    frames: int
    every: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.recipe}/{self.env}"


FIVE, THREE = (100, 101, 102, 103, 104), (100, 101, 102)
PETS_FIVE = (110, 111, 112, 113, 114)
DREAMER_FIVE, DREAMER_THREE = (
    (160, 161, 162, 163, 164),
    (160, 161, 162),
)  # those before were looked into for its default
TABLES: dict[str, tuple[Row, ...]] = {
    "dreamer": (
        Row("dreamer", "pendulum", -200, 5_000, 250, DREAMER_FIVE),
        Row("dreamer", "cartpole", 475, 8_000, 250, DREAMER_FIVE),
        Row("dreamer", "cartpole_masked", 475, 8_000, 250, DREAMER_FIVE),
        Row("dreamer", "dmc/cartpole_swingup", 700, 50_000, 2_500, DREAMER_THREE),
        Row("dreamer", "cartpole_pixels", 195, 20_000, 250, (150, 151, 152)),
    ),
    "control": tuple(  # the bars: what is published for DreamerV3 at 100,000 frames (`published.py`)
        Row("dreamer", f"dmc/{task}", bar, 100_000, 2_500, (160,))
        for task, bar in (
            ("reacher_easy", 693),
            ("finger_spin", 766),
            ("ball_in_cup_catch", 730),
            ("pendulum_swingup", 830),
            ("walker_stand", 767),
        )
    ),
    "world_models": (
        Row("world_models", "cartpole_masked", 195, 9_000, 1_500, THREE),
        Row("world_models", "cartpole_pixels", 195, 9_000, 1_500, (101, 102, 103)),
    ),
    "planning": (
        Row("pets", "pendulum", -200, 1_500, 250, PETS_FIVE),
        Row("pets", "cartpole", 475, 3_000, 250, FIVE),
        Row("latent_vs_observation", "pendulum", -200, 1_500, 250, THREE),
        Row("planet", "dmc/cartpole_swingup", 600, 50_000, 2_500, (103, 104, 105)),
        Row("tdmpc2", "pendulum", -200, 5_000, 250, FIVE),
        Row("tdmpc2", "dmc/cartpole_swingup", 750, 50_000, 2_500, THREE),
    ),
}


def solved_at(curve: list[tuple[int, float]], threshold: float) -> int | None:
    """The step of the third evaluation in a row that reached the threshold."""
    run = 0
    for step, value in curve:
        run = run + 1 if value >= threshold else 0
        if run == IN_A_ROW:
            return step
    return None


def held(curve: list[tuple[int, float]]) -> float:
    """The largest number that three evaluations in a row all reached."""
    values = [value for _, value in curve]
    windows = [min(values[i : i + IN_A_ROW]) for i in range(len(values) - IN_A_ROW + 1)]
    return max(windows, default=float("-inf"))


@dataclass(frozen=True)
class How:
    """What the command line says of all runs."""

    overrides: tuple[str, ...] = ()
    until_solved: bool = False
    keep: Path | None = None


def measure(row: Row, seed: int, how: How) -> dict[str, Any]:
    """Train one seed in a process of its own; returns its line."""
    with tempfile.TemporaryDirectory() as folder:
        run = kept_run(how.keep or Path(folder), row.name, seed)
        overrides = [
            f"env={row.env}",
            f"seed={seed}",
            f"budget.env_steps={row.frames}",
            f"evaluation.every={row.every}",
            "evaluation.episodes=10",
            "evaluation.world_model=false",  # judged once, when the run has ended
            "trainer.threads=1",
            "logging.tensorboard=false",
            *how.overrides,
        ]
        shutil.rmtree(run, ignore_errors=True)  # what an interrupted table has left behind
        command = ["reverie", "train", row.recipe, *overrides]
        before = children_cpu_seconds()
        train([REVERIE, *command[1:], f"run_dir={run}", "--no-progress"], run, row, how.until_solved)
        cpu = children_cpu_seconds() - before
        points = evaluations(run)
        done = how.until_solved and solved_at(curve_of(points), row.threshold) is not None
        if points[-1]["env_steps"] < row.frames and not done:
            raise SystemExit(f"{row.name}, seed {seed}: ended at {points[-1]['env_steps']} of {row.frames} frames")
        return line_of(row, seed, command, points, cpu, judge(run))


def kept_run(folder: Path, row: str, seed: int) -> Path:
    """Where the run of one line lies among those that were kept."""
    return folder / f"{row.replace('/', '-')}-{seed}"


def train(program: list[str], run: Path, row: Row, until_solved: bool) -> None:
    """Run it, to its end or to the evaluation that solves the row."""
    process = subprocess.Popen(program, env=SINGLE, stdout=subprocess.DEVNULL)
    while until_solved and process.poll() is None:
        time.sleep(1)
        curve = curve_of(evaluations(run))
        if solved_at(curve, row.threshold) is not None:
            if curve[-1][0] < row.frames:  # else it is about to end by itself
                process.send_signal(signal.SIGTERM)
            break
    if process.wait() not in ((0, INTERRUPTED) if until_solved else (0,)):
        raise SystemExit(f"exit code {process.returncode}: {' '.join(program)}")


def evaluations(run: Path) -> list[dict[str, Any]]:
    """The run's evaluations so far; a line that is being written does not count yet."""
    path = run / "metrics" / "evaluations.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def curve_of(points: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(point["env_steps"], round(point["mean"], 2)) for point in points]


def children_cpu_seconds() -> float:
    """User and system seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


Errors = dict[str, list[float]]
"""Horizon -> [model, copy-last, mean]; lower is better. Empty where nothing predicts observations."""


def judge(run: Path) -> dict[str, Errors]:
    """Open-loop errors of the finished run's world model, on each kind of `EPISODES`."""
    program = [REVERIE, "evaluate", str(run), "--world-model", "--random", "--json"]
    answer = json.loads(subprocess.run(program, check=True, env=SINGLE, capture_output=True, text=True).stdout)
    return {name: errors_of(answer[name]["observations"].get("overall", [])) for name in EPISODES if name in answer}


def errors_of(rows: list[dict[str, Any]]) -> Errors:
    """The horizons that are compared; one may not apply."""
    found = {row["horizon"]: row for row in rows if row.get("horizon") in JUDGED}
    return {str(h): [round(row[name], 4) for name in ("model", "copy_last", "mean")] for h, row in found.items()}


def line_of(
    row: Row,
    seed: int,
    command: list[str],
    points: list[dict[str, Any]],
    cpu: float,
    errors: dict[str, Errors],
) -> dict[str, Any]:
    """What is recorded about a finished seed. CPU minutes include start-up and leave evaluations out."""
    curve = curve_of(points)
    evaluating = sum(point["cpu_seconds"] for point in points)
    return {
        "row": row.name,
        "seed": seed,
        "solved_at": solved_at(curve, row.threshold),
        "held": round(held(curve), 1),
        "cpu_minutes": round((cpu - evaluating) / 60, 2),
        "evaluation_cpu_minutes": round(evaluating / 60, 2),
        "threshold": row.threshold,
        "frames": row.frames,
        "ended_at": curve[-1][0],
        "mode": points[-1]["mode"],
        **errors,
        "command": " ".join(command),
        **provenance(),
        "curve": curve,
    }


def provenance() -> dict[str, Any]:
    """Of which code a line tells."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE.parent
    ).stdout.strip()
    return {
        "commit": commit,
        "versions": {name: importlib.metadata.version(name) for name in ("reverie", "torch", "gymnasium")},
    }


def lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for text in path.read_text().splitlines():
            yield json.loads(text)


def judge_again(path: Path, folder: Path, rows: Sequence[str], seeds: Sequence[int] | None) -> int:
    """Measure the world models of kept runs anew, and say in their lines by which code; returns how many there were.

    A run belongs to a line if it has the same curve. Lines that are appended meanwhile stay.
    """
    judged = 0
    for line in list(lines(path)):
        run = kept_run(folder, line["row"], line["seed"])
        wanted = line["row"] in rows and line["seed"] in (seeds or (line["seed"],))
        if not wanted or not (run / "checkpoints").is_dir():
            continue
        if curve_of(evaluations(run)) != [tuple(point) for point in line["curve"]]:
            print(f"{line['row']} seed {line['seed']}: {run} is another run than that of the line; left as it is")
            continue
        print(f"{line['row']} seed {line['seed']} ...", flush=True)
        replace_line(path, {**line, **judge(run), "judged": provenance()["commit"]})
        judged += 1
    return judged


def replace_line(path: Path, new: dict[str, Any]) -> None:
    """Put a line in the place of the one of the same row and seed, and all others back as they are now."""
    same = ("row", "seed")
    found = [new if all(line[key] == new[key] for key in same) else line for line in lines(path)]
    beside = path.with_suffix(".new")
    beside.write_text("".join(json.dumps(line) + "\n" for line in found))
    beside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--row", help="only rows of this environment, or recipe/environment")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the row's own")
    parser.add_argument("--out", type=Path, help="where the lines go; learning/<table>.jsonl by default")
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("--figure", type=Path, help="draw the curves into this file and stop")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="judge the runs kept there once more and stop")
    parser.add_argument("--until-solved", action="store_true", help="end each run where it has solved its row")
    parser.add_argument("--frames", type=int, help="end each run here, before the end of its row")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs here")
    parser.add_argument("overrides", nargs="*", help="for trials: these make the recipe another one, so give --out too")
    options = parser.parse_intermixed_args()
    path = options.out or HERE / f"{options.table}.jsonl"
    if options.report:
        print(report(TABLES[options.table], list(lines(path))))
        return
    if options.figure:
        draw(TABLES[options.table], list(lines(path)), options.figure)
        return
    if options.overrides and options.out is None:
        parser.error("overrides make the recipe another one than the table names: give --out")
    rows = [row for row in TABLES[options.table] if options.row in (None, row.env, row.name)]
    if not rows:
        known = ", ".join(row.name for row in TABLES[options.table])
        parser.error(f"{options.table} has no row {options.row!r}; it has {known}")
    if options.judge:
        print(f"{judge_again(path, options.judge, [row.name for row in rows], options.seeds)} models judged again")
        return
    how = How(tuple(options.overrides), options.until_solved, options.keep)
    for row in rows:
        shorter = replace(row, frames=min(row.frames, options.frames or row.frames))
        run_missing(shorter, options.seeds or row.seeds, how, path)


def run_missing(row: Row, seeds: Sequence[int], how: How, path: Path) -> None:
    """Run the seeds of which `path` has no line yet, and append a line for each as soon as it is finished."""
    for seed in seeds:
        if any(line["row"] == row.name and line["seed"] == seed for line in lines(path)):
            continue
        print(f"{row.name} seed {seed} ...", flush=True)
        line = measure(row, seed, how)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps({key: value for key, value in line.items() if key not in ("curve", "versions")}), flush=True)


if __name__ == "__main__":
    main()
