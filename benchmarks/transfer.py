"""Does a world model that knows a body learn its next task sooner? From scratch beside from a finished run, by seed.

    python benchmarks/transfer.py                          # all journeys, reporting seeds that are missing
    python benchmarks/transfer.py --journey lean --seeds 100
    python benchmarks/transfer.py --report                 # the table in Markdown, from the lines

For every seed a first run learns the pendulum. Then the second task is learned twice, one right after the other on the
same machine: from scratch, and by `transfer` from the first run. Both are evaluated on the same episodes at the same
steps. Learned means that each of three evaluations in a row reached the threshold, which is stated below; the step of
the third counts. A run ends there, or at its budget. The ratio is the steps from scratch over the steps of `transfer`;
what did not learn counts with its whole budget, and the ratio is then a bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import learning

OUT = learning.HERE / "transfer.jsonl"
FIRST = 1500
"""Steps of the first run, which are not counted: it is there already."""
EVERY, EPISODES = 100, 5


@dataclass(frozen=True)
class Journey:
    """A second task: `scratch` and `second` are what `reverie train` is told, `{run}` stands for the first run.

    Args:
        first: the recipe, environment and overrides of the first run, without its budget.
    """

    name: str
    first: tuple[str, ...]
    scratch: tuple[str, ...]
    second: tuple[str, ...]
    threshold: float
    budget: int


TAKEN = ("dynamics.from_run={run}", "encoder.from_run={run}")
PETS = ("pets", "env=pendulum")
HEAVY = ("env=pendulum_heavy",)
LONG = ("env=pendulum_lean", "env.kwargs.goal=0", "env.kwargs.length=1.2")
JOURNEYS = (
    Journey(
        "lean",
        PETS,
        ("pets", "env=pendulum_lean"),
        ("transfer", "env=pendulum_lean", *TAKEN),
        threshold=-200,
        budget=1500,
    ),
    Journey("heavy", PETS, ("pets", *HEAVY), ("transfer_body", *HEAVY, *TAKEN), threshold=-300, budget=2000),
    Journey("long", PETS, ("pets", *LONG), ("transfer_body", *LONG, *TAKEN), threshold=-300, budget=2000),
)
SEEDS = (100, 101, 102)


def train(what: tuple[str, ...], run: Path, seed: int, budget: int, threshold: float | None) -> dict[str, Any]:
    """One run: its curve, the step at which it had learned, and its CPU minutes without evaluations."""
    evaluated = [f"evaluation.every={EVERY}"] if threshold is not None else []
    overrides = [
        *what[1:],
        f"seed={seed}",
        f"budget.env_steps={budget}",
        *evaluated,
        f"evaluation.episodes={EPISODES}",
        "trainer.threads=1",
        "logging.tensorboard=false",
    ]
    command = ["reverie", "train", what[0], *overrides]
    before = learning.children_cpu_seconds()
    row = learning.Row(what[0], "", float("inf") if threshold is None else threshold, budget, EVERY, ())
    program = [learning.REVERIE, *command[1:], f"run_dir={run}", "--no-progress"]
    learning.train(program, run, row, until_solved=threshold is not None)
    cpu = learning.children_cpu_seconds() - before
    points = learning.evaluations(run)
    curve = learning.curve_of(points)
    return {
        "learned_at": learning.solved_at(curve, row.threshold),
        "ended_at": curve[-1][0],
        "cpu_minutes": round((cpu - sum(point["cpu_seconds"] for point in points)) / 60, 2),
        "command": " ".join(command).replace(str(run.parent), "runs"),
        "curve": curve,
    }


def measure(journey: Journey, seed: int, folder: Path, extra: tuple[str, ...]) -> dict[str, Any]:
    """The line of one seed. Who goes first alternates with the seed."""
    first = folder / "first"
    train(journey.first, first, seed, FIRST, None)
    taken = tuple(word.replace("{run}", str(first)) for word in journey.second)
    arms = {"scratch": journey.scratch, "second": (*taken, *extra)}
    order = sorted(arms, reverse=seed % 2 == 1)
    found = {name: train(arms[name], folder / name, seed, journey.budget, journey.threshold) for name in order}
    return {
        "row": f"transfer/{journey.name}",
        "seed": seed,
        "threshold": journey.threshold,
        "budget": journey.budget,
        "mode": "mode",
        "ratio": round(steps(found["scratch"]) / steps(found["second"]), 2),
        **{name: found[name] for name in ("scratch", "second")},
        **learning.provenance(),
    }


def steps(arm: dict[str, Any]) -> int:
    """Steps until it was learned, or all that it had."""
    return int(arm["learned_at"] or arm["ended_at"])


def report(path: Path) -> str:
    """The table in Markdown."""
    out = [
        "| journey | threshold | learned, scratch and transfer | steps from scratch | steps of transfer | ratio "
        "| CPU minutes, scratch and transfer |",
        "|---|---|---|---|---|---|---|",
    ]
    for journey in JOURNEYS:
        mine = [line for line in learning.lines(path) if line["row"] == f"transfer/{journey.name}"]
        mine.sort(key=lambda line: line["seed"])
        if not mine:
            continue
        arms = [[line[name] for line in mine] for name in ("scratch", "second")]
        learned = [sum(arm["learned_at"] is not None for arm in arms_) for arms_ in arms]
        listed = [", ".join(f"{steps(arm):,}" if arm["learned_at"] else "-" for arm in arms_) for arms_ in arms]
        minutes = [statistics.mean(arm["cpu_minutes"] for arm in arms_) for arms_ in arms]
        ratios = ", ".join(f"{line['ratio']:g}" for line in mine)
        out.append(
            f"| {journey.name} | {journey.threshold:g} | {learned[0]} and {learned[1]} of {len(mine)} | {listed[0]} | "
            f"{listed[1]} | {ratios} | {minutes[0]:.1f} and {minutes[1]:.1f} |"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journey", choices=[journey.name for journey in JOURNEYS])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, help="where the lines go; learning/transfer.jsonl by default")
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("overrides", nargs="*", help="for trials, of the second run: give --out too")
    options = parser.parse_args()
    path = options.out or OUT
    if options.report:
        print(report(path))
        return
    if options.overrides and options.out is None:
        parser.error("overrides make the recipe another one: give --out")
    for journey in JOURNEYS:
        for seed in options.seeds if options.journey in (None, journey.name) else ():
            known = ((line["row"], line["seed"]) for line in learning.lines(path))
            if (f"transfer/{journey.name}", seed) in known:
                continue
            print(f"{journey.name} seed {seed} ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                line = measure(journey, seed, Path(folder), tuple(options.overrides))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            shown = {name: line[name]["learned_at"] for name in ("scratch", "second")}
            print(f"{journey.name} seed {seed}: {shown}, ratio {line['ratio']}", flush=True)


if __name__ == "__main__":
    main()
