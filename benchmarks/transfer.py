"""Does a world model that knows a body learn its next task sooner? From scratch beside from a finished run, by seed.

    python benchmarks/transfer.py                          # all journeys, reporting seeds that are missing
    python benchmarks/transfer.py --journey lean --seeds 100
    python benchmarks/transfer.py --first runs/planning    # first runs of this folder are used, missing ones kept there
    python benchmarks/transfer.py --report                 # the table in Markdown, from the lines
    python benchmarks/transfer.py --figure docs/images/transfer_curves.png

For every seed a first run learns the pendulum. Then the second task is learned twice, one right after the other on the
same machine: from scratch, and from the first run. Both have the same stages, discounts, planner, seed and budget, and
are evaluated on the same episodes at the same steps; `tests/recipes/test_benchmark_transfer.py` checks that they differ
in nothing but what is known. The last journey, new eyes, is another matter: its stages are its own.

Learned means that each of three evaluations in a row reached the threshold, which is stated below; the step of the
third counts. A run ends there, or at its budget. The ratio is the steps from scratch over the steps from the first run;
what did not learn counts with its whole budget, and the ratio is then a bound. The decisions of the first run are not
in it: it is there already. They are in the column that says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import learning

OUT = learning.HERE / "transfer.jsonl"
EPISODES = 5
SEEDS = (100, 101, 102)
ARMS = {"scratch": "from scratch", "second": "from a finished run"}


@dataclass(frozen=True)
class First:
    """The run that is there already: a recipe on an environment, for `steps` steps."""

    recipe: str
    env: str
    steps: int

    def folder(self, seed: int) -> str:
        """As `learning.py --keep` names it."""
        return f"{self.recipe}-{self.env}-{seed}"


@dataclass(frozen=True)
class Journey:
    """A second task. Its arms are what `reverie train` is told; `{run}` stands for the first run.

    Args:
        scratch: without the first run.
        second: with it.
        every: steps from one evaluation to the next, in all arms.
    """

    name: str
    says: str
    first: First
    scratch: tuple[str, ...]
    second: tuple[str, ...]
    threshold: float
    budget: int
    every: int = 50


DREAMER = First("dreamer", "pendulum", 3000)
PETS = First("pets", "pendulum", 1000)
KNOWN = ("encoder.from_run={run}", "dynamics.from_run={run}", "decoder.from_run={run}")
STAGES = ("stages.prefill.until.agent_steps=200",)
"""Where those of `transfer` are not `dreamer`'s."""
LEAN = ("env=pendulum_lean",)
LONG = ("env=pendulum_long",)
ANGLE = ("env=pendulum_angle",)
ALL = tuple(f"{slot}.from_run={{run}}" for slot in ("dynamics", "heads.reward", "heads.continue", "heads.value"))
JOURNEYS: tuple[Journey, ...] = (
    Journey(
        "lean",
        "the pendulum is to lean",
        DREAMER,
        scratch=("dreamer", *LEAN, *STAGES),
        second=("transfer", *LEAN, *KNOWN),
        threshold=-200,
        budget=3000,
    ),
    Journey(
        "long",
        "a fifth longer",
        DREAMER,
        scratch=("dreamer", *LONG, *STAGES),
        second=("transfer_body", *LONG, *KNOWN),
        threshold=-200,
        budget=3000,
    ),
    Journey(
        "eyes",
        "seen as an angle",
        PETS,
        scratch=("pets", *ANGLE),
        second=("transfer_encoder", *ANGLE, *ALL),
        threshold=-200,
        budget=1500,
        every=100,
    ),
)


def train(words: tuple[str, ...], run: Path, seed: int, row: learning.Row, until_learned: bool) -> dict[str, Any]:
    """One run: its curve, the step at which it had learned, and its CPU minutes without evaluations."""
    overrides = [
        *words[1:],
        f"seed={seed}",
        f"budget.env_steps={row.frames}",
        f"evaluation.every={row.every}",
        f"evaluation.episodes={EPISODES}",
        "trainer.threads=1",
        "logging.tensorboard=false",
    ]
    before = learning.children_cpu_seconds()
    program = [learning.REVERIE, "train", words[0], *overrides, f"run_dir={run}", "--no-progress"]
    learning.train(program, run, row, until_solved=until_learned)
    cpu = learning.children_cpu_seconds() - before
    points = learning.evaluations(run)
    curve = learning.curve_of(points)
    return {
        "learned_at": learning.solved_at(curve, row.threshold),
        "ended_at": curve[-1][0],
        "updates": points[-1]["updates"],
        "cpu_minutes": round((cpu - sum(point["cpu_seconds"] for point in points)) / 60, 2),
        "command": " ".join(["reverie", "train", words[0], *overrides]),
        "curve": curve,
    }


def first_run(journey: Journey, seed: int, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The first run of a seed, trained if it is not in `folder` yet, and what is recorded about it."""
    first = journey.first
    run = folder / first.folder(seed)
    if not (run / "status.json").exists():
        row = learning.Row(first.recipe, first.env, float("inf"), first.steps, first.steps, ())
        train((first.recipe, f"env={first.env}"), run, seed, row, until_learned=False)
    told = json.loads((run / "provenance.json").read_text())["overrides"]
    words = ["reverie", "train", first.recipe, *(word for word in told if not word.startswith("run_dir="))]
    steps = json.loads((run / "status.json").read_text())["env_steps"]
    return run, {"steps": steps, "command": " ".join(words)}


def measure(journey: Journey, seed: int, folder: Path, firsts: Path, extra: tuple[str, ...]) -> dict[str, Any]:
    """The line of one seed. Who goes first alternates with the seed."""
    run, first = first_run(journey, seed, firsts)
    arms = {"scratch": journey.scratch, "second": (*journey.second, *extra)}
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(arms, reverse=seed % 2 == 1):
        words = tuple(word.replace("{run}", str(run)) for word in arms[name])
        row = learning.Row(words[0], "", journey.threshold, journey.budget, journey.every, ())
        found[name] = train(words, folder / name, seed, row, until_learned=True)
        found[name]["command"] = found[name]["command"].replace(str(firsts), "runs")
    return {
        "row": f"transfer/{journey.name}",
        "seed": seed,
        "threshold": journey.threshold,
        "budget": journey.budget,
        "mode": "mode",
        "ratio": round(steps(found["scratch"]) / steps(found["second"]), 2),
        "first": first,
        **found,
        **learning.provenance(),
    }


def steps(arm: Mapping[str, Any]) -> int:
    """Steps until it was learned, or all that it had."""
    return int(arm["learned_at"] or arm["ended_at"])


def lines_of(journey: Journey, path: Path) -> list[dict[str, Any]]:
    """By seed."""
    mine = [line for line in learning.lines(path) if line["row"] == f"transfer/{journey.name}"]
    return sorted(mine, key=lambda line: int(line["seed"]))


def report(path: Path) -> str:
    """The table in Markdown."""
    out = [
        "| second task | threshold | seeds | from scratch | from a finished run | ratio | with the first run "
        "| CPU minutes, scratch and second |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for journey in JOURNEYS:
        mine = lines_of(journey, path)
        if not mine:
            continue
        cells = {name: ", ".join(shown(line[name]) for line in mine) for name in ARMS}
        minutes = [statistics.mean(line[name]["cpu_minutes"] for line in mine) for name in ARMS]
        whole = ", ".join(f"{line['first']['steps'] + steps(line['second']):,}" for line in mine)
        out.append(
            f"| {journey.says} | {journey.threshold:g} | {', '.join(str(line['seed']) for line in mine)} | "
            f"{cells['scratch']} | {cells['second']} | {', '.join(map(ratio, mine))} | {whole} | "
            f"{minutes[0]:.1f} and {minutes[1]:.1f} |"
        )
    return "\n".join(out)


def shown(arm: Mapping[str, Any]) -> str:
    return f"{arm['learned_at']:,}" if arm["learned_at"] else f"not within {arm['ended_at']:,}"


def ratio(line: Mapping[str, Any]) -> str:
    """A bound where one side did not learn, and nothing where neither did."""
    scratch, second = (line[name]["learned_at"] is not None for name in ("scratch", "second"))
    if not scratch and not second:
        return "-"
    bound = "" if scratch and second else "above " if second else "below "
    return f"{bound}{line['ratio']:g}"


def draw(path: Path, picture: Path) -> None:
    """One panel per journey: a line per seed and arm, the threshold dashed."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    journeys = [journey for journey in JOURNEYS if lines_of(journey, path)]
    figure, panels = plt.subplots(1, len(journeys), figsize=(4.4 * len(journeys), 3.4), squeeze=False)
    figure.set_layout_engine("constrained")
    colours = dict(zip(ARMS, ("C0", "C1"), strict=True))
    for panel, journey in zip(panels[0], journeys, strict=True):
        for number, line in enumerate(lines_of(journey, path)):
            for arm, label in ARMS.items():
                at, returns = zip(*line[arm]["curve"], strict=True)
                panel.plot(at, returns, color=colours[arm], linewidth=1.2, label=None if number else label)
        panel.axhline(journey.threshold, color="0.3", linewidth=1, linestyle="--")
        panel.set(title=journey.says, xlabel="steps in the second task")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel(f"return, mean of {EPISODES} episodes")
    panels[0][0].legend(frameon=False, fontsize=8, loc="lower right")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journey", choices=[journey.name for journey in JOURNEYS])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--first", type=Path, metavar="FOLDER", help="of first runs: those that are there are used")
    parser.add_argument("--out", type=Path, help="where the lines go; learning/transfer.jsonl by default")
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("--figure", type=Path, help="draw the curves into this file and stop")
    parser.add_argument("overrides", nargs="*", help="for trials, of the second run: give --out too")
    options = parser.parse_args()
    path = options.out or OUT
    if options.report:
        print(report(path))
        return
    if options.figure:
        draw(path, options.figure)
        return
    if options.overrides and options.out is None:
        parser.error("overrides make the recipe another one: give --out")
    for journey in JOURNEYS:
        for seed in options.seeds if options.journey in (None, journey.name) else ():
            if any(line["seed"] == seed for line in lines_of(journey, path)):
                continue
            print(f"{journey.name} seed {seed} ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                firsts = options.first or Path(folder) / "first"
                line = measure(journey, seed, Path(folder), firsts, tuple(options.overrides))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            learned = {name: line[name]["learned_at"] for name in ARMS}
            print(f"{journey.name} seed {seed}: {learned}, ratio {line['ratio']}", flush=True)


if __name__ == "__main__":
    main()
