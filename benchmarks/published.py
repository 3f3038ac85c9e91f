"""Our returns on control tasks beside published ones, at the same numbers of frames.

    python benchmarks/published.py CURVES             # the table in Markdown
    python benchmarks/published.py CURVES --at 50000 100000

CURVES is a folder with the files `dmc_proprio-*.json.gz` of DreamerV3's public repository: lists of {task, method,
seed, xs (frames), ys (returns)}. A return "at" a number of frames is the mean over the 10,000 frames before it (of
DreamerV3 that is one point, of ours four evaluations of ten episodes without exploration), per seed and then over
seeds; a seed that has not come so far is left out, and the number of those that have stands in brackets.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

OURS = [Path(__file__).parent / "learning" / f"{table}.jsonl" for table in ("dreamer", "control")]
WINDOW = 10_000

Curve = list[tuple[float, float]]
"""(frames, return), in order."""


def return_at(curve: Curve, frames: int) -> float | None:
    """Mean return over the window that ends at `frames`; None for a curve that ends before."""
    if curve[-1][0] < frames:
        return None
    inside = [value for step, value in curve if frames - WINDOW < step <= frames]
    return statistics.mean(inside) if inside else None


def published_curves(folder: Path) -> dict[str, dict[str, list[Curve]]]:
    """Method -> task -> one curve per seed."""
    found: dict[str, dict[str, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("dmc_proprio-*.json.gz")):
        for run in json.loads(gzip.decompress(path.read_bytes())):
            curve = list(zip(run["xs"], run["ys"], strict=True))
            found[run["method"]][run["task"].removeprefix("dmc_")].append(curve)
    return found


def our_curves(paths: Iterable[Path]) -> dict[str, list[Curve]]:
    """Task -> one curve per seed, of the control tasks among the lines in `paths`."""
    found: dict[str, list[Curve]] = defaultdict(list)
    for text in (text for path in paths if path.exists() for text in path.read_text().splitlines()):
        line = json.loads(text)
        _, suite, task = line["row"].partition("/dmc/")
        if suite:
            found[task].append([(float(step), float(value)) for step, value in line["curve"]])
    return found


def cell(curves: Iterable[Curve], marks: Iterable[int]) -> str:
    """`mean (seeds)` at each mark."""
    curves, parts = list(curves), []
    for frames in marks:
        values = [value for curve in curves if (value := return_at(curve, frames)) is not None]
        parts.append(f"{statistics.mean(values):.0f} ({len(values)})" if values else "-")
    return ", ".join(parts)


def table(mine: Mapping[str, list[Curve]], others: Mapping[str, Mapping[str, list[Curve]]], marks: list[int]) -> str:
    """In Markdown: tasks down, methods across."""
    rows = [["task", "dreamer here", *others], ["---"] * (len(others) + 2)]
    for task, curves in mine.items():
        rows.append([task, cell(curves, marks), *(cell(method.get(task, []), marks) for method in others.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path, help="folder of published curves")
    parser.add_argument("--at", type=int, nargs="+", default=[50_000, 100_000], metavar="FRAMES")
    options = parser.parse_args()
    mine, others = our_curves(OURS), published_curves(options.curves)
    if not others:
        parser.error(f"{options.curves} has no dmc_proprio-*.json.gz: name the folder of the published curves")
    if not mine:
        parser.error("no control task has a line yet: run `python benchmarks/learning.py control`")
    print(table(mine, others, options.at))


if __name__ == "__main__":
    main()
