"""Does another planner earn as much as a run's own? Both play the same episodes of every run.

    python benchmarks/paired.py planner=guided RUN RUN RUN
    python benchmarks/paired.py "planner=cem planner.horizon=10" RUN --episodes 50 --append paired.jsonl

For each run: the mean return of its own planner, of the other one, and the mean difference of the pairs with its
standard error. Episode i has the same seed for both. One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
from pathlib import Path
from typing import Any

import learning

FIRST_SEED = 2_000_000
"""Of the episodes: none that a run was evaluated on while it learned."""


def played(run: Path, overrides: list[str], episodes: int) -> dict[str, Any]:
    """What `reverie evaluate` says: `returns`, one for each episode, and the `mode` they were played in."""
    options = ["--episodes", str(episodes), "--seed", str(FIRST_SEED), "--json"]
    program = [learning.REVERIE, "evaluate", str(run), *overrides, *options]
    answer = subprocess.run(program, check=True, env=learning.SINGLE, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def compared(own: list[float], other: list[float]) -> dict[str, float]:
    """Means of both, of their differences (other minus own), and the standard error of that mean.

    Raises:
        ValueError: for lists of different lengths, or fewer than two pairs.
    """
    if len(own) != len(other) or len(own) < 2:
        raise ValueError(f"{len(own)} and {len(other)} returns: pairs are needed, at least two")
    gaps = [b - a for a, b in zip(own, other, strict=True)]
    return {
        "own": statistics.fmean(own),
        "other": statistics.fmean(other),
        "gain": statistics.fmean(gaps),
        "standard_error": statistics.stdev(gaps) / math.sqrt(len(gaps)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("planner", help="overrides in one word, such as 'planner=guided planner.horizon=10'")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--append", type=Path, help="a file that gets one JSON line per run")
    args = parser.parse_args()
    for run in args.runs:
        own, other = (played(run, words, args.episodes) for words in (list[str](), args.planner.split()))
        line: dict[str, Any] = {"run": run.name, "planner": args.planner, "episodes": args.episodes}
        line["mode"] = other["mode"]
        line |= {name: round(value, 3) for name, value in compared(own["returns"], other["returns"]).items()}
        line |= learning.provenance()
        print(json.dumps(line), flush=True)
        if args.append:
            with args.append.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
