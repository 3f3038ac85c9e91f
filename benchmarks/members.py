"""Where members of an ensemble matter: one model beside five that learn the pendulum from the same 200 random steps.

    python benchmarks/members.py                  # seeds and sizes that are missing
    python benchmarks/members.py --report         # the table in Markdown, from the lines

Both make 1,000 updates of the model and plan with it, without a value. The open-loop error is that on ten episodes of
the planner, which leads where no random step has been; the return is that of these episodes. One thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import learning
from learning_report import JUDGED

OUT = learning.HERE / "members.jsonl"
RECIPE = Path(__file__).with_name("members.yaml")
SIZES, SEEDS = (1, 5), (100, 101, 102, 103, 104)
HORIZONS = (1, *JUDGED)


def measure(members: int, seed: int) -> dict[str, Any]:
    """One run and its line."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        overrides = [f"dynamics.members={members}", f"seed={seed}", "trainer.threads=1", "logging.tensorboard=false"]
        program = [learning.REVERIE, "train", str(RECIPE), *overrides, f"run_dir={run}", "--no-progress"]
        subprocess.run(program, check=True, env=learning.SINGLE, stdout=subprocess.DEVNULL)
        program = [learning.REVERIE, "evaluate", str(run), "planner.bootstrap=false", "--world-model", "--json"]
        found = json.loads(subprocess.run(program, check=True, env=learning.SINGLE, capture_output=True).stdout)
    rows = {row.get("horizon"): row for row in found["world_model"]["observations"]["overall"]}
    errors = {str(h): [round(rows[h][name], 4) for name in ("model", "copy_last", "mean")] for h in (1, *JUDGED)}
    about = {"members": members, "seed": seed, "mode": found["mode"], "return": round(found["mean"], 1)}
    return {**about, "world_model": errors, **learning.provenance()}


def report(found: list[dict[str, Any]]) -> str:
    """One line per size, medians over its seeds."""
    rows = [
        "| members | seeds | error at 1, 5, 15 | error at 15, per seed | return, per seed |",
        "|---|---|---|---|---|",
    ]
    for size in SIZES:
        mine = sorted((line for line in found if line["members"] == size), key=lambda line: line["seed"])
        if mine:
            medians = [statistics.median(line["world_model"][str(h)][0] for line in mine) for h in (1, *JUDGED)]
            cells = [", ".join(f"{value:.2f}" for value in medians)]
            cells.append(", ".join(f"{line['world_model']['15'][0]:.2f}" for line in mine))
            cells.append(", ".join(f"{line['return']:,.0f}" for line in mine))
            rows.append(f"| {size} | {', '.join(str(line['seed']) for line in mine)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    found = list(learning.lines(OUT))
    if args.report:
        print(report(found))
        return
    there = {(line["members"], line["seed"]) for line in found}
    for seed in args.seeds:
        for size in SIZES:
            if (size, seed) not in there:
                line = measure(size, seed)
                with OUT.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
