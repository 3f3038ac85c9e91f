"""What `learning.py` makes of its lines: the table in Markdown, and the figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learning import Row

JUDGED = (5, 15)
"""Horizons at which the trained world model must beat copy-last and the mean."""
EPISODES = {"world_model": "its own", "world_model_random": "random"}
"""Entries of a line with open-loop errors, and whose episodes they are of."""


def report(rows: Sequence[Row], found: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    out = [
        "| recipe | environment | threshold | within | solved | at steps | held, per seed | CPU minutes "
        "| model error at 5, 15 | on random episodes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mine = sorted((line for line in found if line["row"] == row.name), key=lambda line: line["seed"])
        if not mine:
            continue
        within = max(line["frames"] for line in mine)
        solved = [line["solved_at"] for line in mine if line["solved_at"] is not None]
        minutes = [line["cpu_minutes"] for line in mine]
        reached = [f"{line['held']:g}" for line in mine]
        out.append(
            f"| {row.recipe} | {row.env} | {row.threshold:g} | {within:,} | {len(solved)} of {len(mine)} | "
            f"{', '.join(f'{step:,}' for step in solved) or '-'} | {', '.join(reached)} | "
            f"{_span(minutes)} | {' | '.join(_model_errors(mine, name) for name in EPISODES)} |"
        )
    return "\n".join(out)


def _span(minutes: list[float]) -> str:
    least, most = f"{min(minutes):.1f}", f"{max(minutes):.1f}"
    return least if least == most else f"{least} to {most}"


def _model_errors(mine: list[dict[str, Any]], name: str) -> str:
    """Median error relative to the better of copy-last and mean, and how many seeds lie below both, per horizon."""
    cells = []
    for horizon in JUDGED if all(line.get(name) for line in mine) else ():
        found = [line[name][str(horizon)] for line in mine if str(horizon) in line[name]]  # it may not apply
        ratios = [model / min(copy, mean) for model, copy, mean in found]
        below = sum(ratio < 1 for ratio in ratios)
        cells.append(f"{statistics.median(ratios):.2f} ({below} of {len(ratios)})" if ratios else "-")
    return ", ".join(cells) or "-"


def draw(rows: Sequence[Row], found: Sequence[dict[str, Any]], picture: Path) -> None:
    """One panel per row: a thin line per seed as far as its runs went, the threshold dashed."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows if any(line["row"] == row.name for line in found)]
    columns = len(rows) if len(rows) < 4 else math.ceil(math.sqrt(len(rows)))
    lines_of_panels = math.ceil(len(rows) / columns)
    figure, grid = plt.subplots(
        lines_of_panels, columns, figsize=(4.2 * columns, 3.2 * lines_of_panels), squeeze=False, layout="constrained"
    )
    panels = list(grid.flat)
    for panel in panels[len(rows) :]:
        panel.set_axis_off()
    for panel, row in zip(panels, rows, strict=False):
        mine = sorted((one for one in found if one["row"] == row.name), key=lambda one: one["seed"])
        for line in mine:
            steps, returns = zip(*line["curve"], strict=True)
            panel.plot([step / 1000 for step in steps], returns, linewidth=1.2, label=f"seed {line['seed']}")
        panel.axhline(row.threshold, color="0.4", linewidth=1, linestyle="--", label=f"bar {row.threshold:g}")
        last = max(line["curve"][-1][0] for line in mine)
        panel.set(title=f"{row.recipe}, {row.env}", xlabel="thousand frames", xlim=(0, last / 1000))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    for first in grid[:, 0]:
        first.set_ylabel("return, mean of 10 episodes")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
