"""What a person sees while an agent trains."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback, Trainer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reverie.recipes.locate import printable

if TYPE_CHECKING:
    from reverie.training.keeper import Keeper
    from reverie.training.module import AgentModule

_BARS = "▁▂▃▄▅▆▇█"
_BARS_SHOWN = 28
_AHEAD = 15
"""Steps ahead at which the panel tells the error of the world model."""


@dataclass
class Pace:
    """How fast a stage goes: measured from where this process began to watch it."""

    stage: int = -1
    began: float = 0.0
    fraction: float = 0.0
    updates: int = 0

    def watch(self, stage: int, fraction: float, updates: int) -> None:
        """Start anew when the stage changes."""
        if stage != self.stage:
            self.stage, self.began, self.fraction, self.updates = stage, time.monotonic(), fraction, updates

    def seconds_left(self, fraction: float) -> float:
        """Until the stage ends, at the pace so far; infinite before anything is known."""
        done = fraction - self.fraction
        return (time.monotonic() - self.began) * (1 - fraction) / done if done > 0 else math.inf

    def updates_per_second(self, updates: int) -> float:
        """Gradient updates in each second since the stage began."""
        return (updates - self.updates) / max(time.monotonic() - self.began, 1e-9)


class RunProgress(Callback):
    """A live display on a terminal, a line now and then elsewhere.

    Args:
        title: recipe and environment.
        console: where to; standard output by default.
        enabled: show nothing but `say` if false.
        every: seconds between plain lines.
    """

    def __init__(self, title: str, console: Console | None = None, enabled: bool = True, every: float = 10.0) -> None:
        self.title = title
        self.console = console or Console(highlight=False)
        self.enabled = enabled
        self.every = every
        self.keeper: Keeper | None = None
        self._live: Live | None = None
        self._pace = Pace()
        self._shown = 0.0
        self._evaluations = 0
        self._last = ""

    def say(self, text: str) -> None:
        """One line for a person, above the live display."""
        lines = (printable(line, 1000) for line in text.split("\n"))  # names of files may be in it
        self.console.print(Text("\n".join(lines)), style="dim")

    # Lightning calls these.

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.enabled and self.console.is_terminal and trainer.is_global_zero:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.start()
        self._update(pl_module, force=True)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.is_global_zero:
            self._update(pl_module, force=False)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._update(pl_module, force=True)
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    # Drawing.

    def _update(self, module: AgentModule, *, force: bool) -> None:
        cursor, counters = module.cursor, module.counters
        fraction = cursor.fraction(counters)
        self._pace.watch(cursor.index, fraction, counters.updates)
        now = time.monotonic()
        if not self.enabled:
            return
        if self._live is not None:
            if force or now - self._shown > 0.25:
                self._shown = now
                self._live.update(self._panel(module, fraction), refresh=True)
            return
        curve = self.keeper.report.curve if self.keeper else []
        if force or now - self._shown > self.every or len(curve) > self._evaluations:
            self._shown, self._evaluations = now, len(curve)
            line = self._line(module, fraction)
            if line != self._last:
                self.console.print(Text(line), soft_wrap=True)
            self._last = line

    def _panel(self, module: AgentModule, fraction: float) -> Group:
        """Five lines at most that fit into 80 columns."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            grid.add_column(no_wrap=True)
        grid.add_row(
            Text(f"{self.title}", style="bold"),
            Text(self._stage(module), style="cyan"),
            ProgressBar(total=1.0, completed=fraction, width=16),
            Text(self._left(module, fraction), style="dim"),
        )
        recent, *pace = self._facts(module)
        lines = [
            ([self._amount(module), recent], ""),
            (pace, ""),
            ([self._evaluation(), self._curve()], "green"),
            ([self._foresight()], "green"),
        ]
        told = [("   ".join(filter(None, parts)), style) for parts, style in lines]
        return Group(grid, *(Text(f"  {text}", style=style) for text, style in told if text))

    def _line(self, module: AgentModule, fraction: float) -> str:
        judged = [self._evaluation(), self._foresight()]
        parts = [self._stage(module), self._amount(module), *self._facts(module), *judged, self._left(module, fraction)]
        return " | ".join(part for part in parts if part)

    def _stage(self, module: AgentModule) -> str:
        cursor = module.cursor
        return cursor.title if cursor.finished else f"{cursor.title} ({cursor.index + 1}/{len(cursor.plan)})"

    def _amount(self, module: AgentModule) -> str:
        """How far the stage is, in the unit that will end it first."""
        cursor, counters = module.cursor, module.counters
        frames = f"{counters.env_steps:,} frames"
        if cursor.finished:
            return frames
        until = cursor.until[cursor.index]
        if "env_steps" in until:
            end = cursor.began.env_steps + until["env_steps"]
            end = min(end, cursor.budget.get("env_steps", end))  # the run's own cap may come before the stage's end
            return f"{counters.env_steps:,} / {int(end):,} frames"
        name = next(iter(until))
        done = getattr(counters, name) - getattr(cursor.began, name)
        return f"{frames}, {done:,.0f} / {until[name]:,.0f} {name.replace('agent_steps', 'decisions')}"

    def _facts(self, module: AgentModule) -> list[str]:
        counters, recent = module.counters, module.ticker.episodes
        began = module.cursor.began  # the ratio of this stage, as the recipe states it, not diluted by those before
        collected = counters.agent_steps - began.agent_steps
        ratio = (counters.replayed_steps - began.replayed_steps) / collected if collected else 0.0
        speed = self._pace.updates_per_second(counters.updates)
        return [
            f"return {sum(e.episode_return for e in recent) / len(recent):.1f}" if recent else "",
            f"replay ratio {ratio:.1f}" if collected and counters.updates else "",
            f"{speed:.1f} updates/s" if counters.updates and not module.cursor.finished else "",
        ]

    def _evaluation(self) -> str:
        latest = self.keeper.report.latest if self.keeper else {}
        if "eval/return" not in latest:
            return ""
        return f"evaluation {latest['eval/return']:.1f} (best {latest['eval/best']:.1f})"

    def _foresight(self) -> str:
        """How far wrong the model is far ahead, where evaluations judge it."""
        latest = self.keeper.report.latest if self.keeper else {}
        names = [f"world/{name}_{_AHEAD}" for name in ("error", "error_copy_last", "error_mean")]
        if not all(name in latest for name in names):
            return ""
        error, *baselines = (latest[name] for name in names)
        return f"model error {_AHEAD} ahead {error:.2f} (better baseline {min(baselines):.2f})"

    def _left(self, module: AgentModule, fraction: float) -> str:
        if module.cursor.finished:
            return ""
        left = self._pace.seconds_left(fraction)
        if math.isinf(left):
            return ""
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"{clock} left"

    def _curve(self) -> str:
        """The evaluations so far as a row of small bars."""
        curve = [mean for _, mean in self.keeper.report.curve] if self.keeper else []
        return sparkline(curve[-_BARS_SHOWN:])


def sparkline(values: list[float]) -> str:
    """A small bar per value, from the least to the greatest; empty for fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    bars = [_BARS[round((value - low) / (high - low) * 7) if high > low else 0] for value in values]
    return f"{low:.0f} {''.join(bars)} {high:.0f}"
