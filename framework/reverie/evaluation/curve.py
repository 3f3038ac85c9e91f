"""The learning curve of one run, from the numbers in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reverie.assembly.build import build_environment
from reverie.errors import ReverieError, RunError
from reverie.evaluation.protocol import RandomPolicy, evaluate
from reverie.extension.manager import Plugins
from reverie.recipes.from_run import LOCK_FILE
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.durable import write_atomically
from reverie.training.untrusted import parse_json, read_lines, read_rows, require_run

INK, QUIET, GRID = "#18202e", "#626e80", "#e3e7ed"
AGENT, DOTS, RANDOM = "#3474be", "#9aa5b5", "#e05814"

FORMATS = (".png", ".svg", ".pdf")

RETURN_COLUMNS = ("train/return", "episode/return", "return")
"""Columns of `metrics.csv` that may hold the return of collected episodes."""


@dataclass(frozen=True)
class Point:
    """One evaluation: return over its episodes."""

    env_steps: float
    mean: float
    std: float
    low: float
    high: float


@dataclass
class Curve:
    """What a run's folder says about its returns.

    Args:
        evaluations: in the order of environment steps.
        collected: (environment steps, return) of the episodes that were collected.
    """

    evaluations: list[Point] = field(default_factory=list)
    collected: list[tuple[float, float]] = field(default_factory=list)


def title_of(recipe: Recipe) -> str:
    """Recipe and environment, as they stand above pictures."""
    choice = recipe.choice("env")
    return recipe.name if choice is None else f"{recipe.name} · {getattr(choice.config, 'id', choice.name)}"


def read_curve(run: Path) -> Curve:
    """Read `metrics/evaluations.jsonl` and `metrics/metrics.csv`. What is missing or half-written is left out."""
    metrics = run / "metrics"
    points = [point for entry in _lines(metrics / "evaluations.jsonl") if (point := _point(entry)) is not None]
    collected: list[tuple[float, float]] = []
    for row in read_rows(metrics / "metrics.csv"):
        steps = _number(row, ("env_steps",))
        value = _number(row, RETURN_COLUMNS)
        if steps is not None and value is not None:
            collected.append((steps, value))
    return Curve(sorted(points, key=lambda point: point.env_steps), collected)


def random_return(run: Path, recipe: Recipe, *, episodes: int = 20) -> float:
    """The mean return of a random policy in the run's environment; played once and kept in `metrics/random.json`."""
    kept = run / "metrics" / "random.json"
    if (known := _number(next(iter(_lines(kept)), {}), ("mean",))) is not None:
        return known
    factory = build_environment(recipe)
    seed = recipe.settings.evaluation.seed
    result = evaluate(RandomPolicy(factory.action), factory, episodes=episodes, seed=seed)
    write_atomically(kept, json.dumps(result.as_json()) + "\n")
    return result.mean


def write_curve(
    run: Path | str, out: Path | None = None, *, random: bool = True, plugins: Plugins | None = None
) -> Path:
    """Draw the learning curve of a run.

    Args:
        run: its folder.
        out: where to, as `.png`, `.svg` or `.pdf`; by default `curve.png` in the run.
        random: play a random policy (once) and draw its mean return as a line.
        plugins: those to use; loaded if not given.

    Raises:
        RunError: if there is no run, or it has no returns yet.
    """
    run = Path(run)
    require_run(run)
    curve = read_curve(run)
    if not curve.evaluations and not curve.collected:
        raise RunError(f"{run} has no returns yet: neither metrics/evaluations.jsonl nor metrics/metrics.csv holds any")
    recipe = prepare(run / LOCK_FILE, plugins=plugins)
    level = random_return(run, recipe) if random else None
    return draw_curve(curve, out or run / "curve.png", title=title_of(recipe), random=level)


def draw_curve(curve: Curve, target: Path, *, title: str, random: float | None = None) -> Path:
    """Write the picture; it appears under its name only once it is complete.

    Raises:
        ReverieError: for a kind of file that cannot be written.
    """
    if target.suffix not in FORMATS:
        raise ReverieError(f"{target.name}: a curve is written as {', '.join(FORMATS)}, chosen by the file's ending")
    figure = Figure(figsize=(8, 4.5), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, curve, random)
    _dress(axes, title)
    figure.tight_layout(pad=1.4)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        figure.savefig(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _draw(axes: Axes, curve: Curve, random: float | None) -> None:
    if curve.collected:
        dots = ([steps for steps, _ in curve.collected], [value for _, value in curve.collected])
        axes.scatter(*dots, s=14, color=DOTS, alpha=0.6, linewidths=0, label="while collecting")
    if curve.evaluations:
        steps = [point.env_steps for point in curve.evaluations]
        means = [point.mean for point in curve.evaluations]
        low = [max(point.low, point.mean - point.std) for point in curve.evaluations]
        high = [min(point.high, point.mean + point.std) for point in curve.evaluations]
        axes.fill_between(steps, low, high, color=AGENT, alpha=0.16, linewidth=0)
        axes.plot(
            steps, means, color=AGENT, linewidth=2.4, marker="o", markersize=5, label="evaluation, mean and spread"
        )
        axes.annotate(
            f"{means[-1]:.4g}", (steps[-1], means[-1]), (8, 0), textcoords="offset points", va="center",
            color=AGENT, fontweight="bold", fontsize=12,
        )  # fmt: skip
    if random is not None:
        axes.axhline(random, color=RANDOM, linewidth=1.8, linestyle=(0, (5, 3)), label=f"random policy {random:.4g}")


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=15, fontweight="bold", color=INK, pad=34)
    axes.set_xlabel("environment steps", fontsize=12, color=QUIET)
    axes.set_ylabel("episode return", fontsize=12, color=QUIET)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=11, colors=QUIET, length=0)
    axes.grid(color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.margins(x=0.06, y=0.08)
    axes.set_xlim(left=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, frameon=False, fontsize=11, labelcolor=QUIET,
        borderaxespad=0.2, handletextpad=0.6, columnspacing=1.6,
    )  # fmt: skip


def _lines(path: Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for line in read_lines(path):
        try:
            entry = parse_json(line)
        except ValueError:
            continue  # a line that was being written when the run was stopped
        if isinstance(entry, dict):
            found.append(entry)
    return found


def _point(entry: Mapping[str, Any]) -> Point | None:
    steps, mean = _number(entry, ("env_steps", "step")), _number(entry, ("mean", "return"))
    if steps is None or mean is None:
        return None
    std = _number(entry, ("std",)) or 0.0
    low, high = _number(entry, ("min",)), _number(entry, ("max",))
    return Point(steps, mean, std, mean - std if low is None else low, mean + std if high is None else high)


def _number(entry: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    """The first of these that is there and a finite number."""
    for name in names:
        try:
            value = float(entry[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue  # absent, or an empty cell
        if math.isfinite(value):
            return value
    return None
