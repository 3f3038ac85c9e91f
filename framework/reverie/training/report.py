"""What a run writes down about itself: lines of metrics, evaluations, the best so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from reverie.contracts.learner import Counters
from reverie.recipes.schema import Settings
from reverie.training.metrics import Averages, Lines, Table
from reverie.training.run_folder import RunFolder


class Logs(Protocol):
    """Any of Lightning's loggers."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...


class Report:
    """Writes `metrics/metrics.csv`, `metrics/evaluations.jsonl` and Lightning's loggers.

    Args:
        folder: of the run.
        settings: of the recipe.
        averages: what learners and ticks recorded since the last line.
        writes: whether this process writes files (one of several does).
        say: tells a person something.
        clock: what `evaluation.every` counts: updates, where there is no environment.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: Settings,
        averages: Averages,
        writes: bool = True,
        say: Callable[[str], None] = lambda text: None,
        clock: Literal["env_steps", "updates"] = "env_steps",
    ) -> None:
        self.say = say
        self.clock = clock
        self.table = Table(folder.metrics / "metrics.csv")
        self.evaluations = Lines(folder.metrics / "evaluations.jsonl")
        self.settings, self.averages, self.writes = settings, averages, writes
        self.loggers: Sequence[Logs] = ()
        self.best: float | None = None
        self.last_line: dict[str, int] = {"env_steps": 0, "updates": 0, "generations": 0}
        self.latest: dict[str, float] = {}
        self.curve: list[tuple[int, float]] = []
        self.next_evaluation = settings.evaluation.every or 0
        self.evaluated_at: tuple[int, int, int] | None = None
        self._speed = (time.monotonic(), 0)

    def line_due(self, counters: Counters) -> bool:
        """Whether `logging.every` steps have passed; updates count in stages that step no environment."""
        every = self.settings.logging.every
        since: dict[str, int] = {name: getattr(counters, name) - before for name, before in self.last_line.items()}
        if since["env_steps"]:
            return since["env_steps"] >= every
        return since["updates"] >= every or since["generations"] > 0

    def write_line(self, stage: str, counters: Counters) -> dict[str, float]:
        """One line of everything averaged since the last one; returns it."""
        values = self.averages.take()
        if counters.agent_steps and counters.replayed_steps:
            values["train/replay_ratio"] = counters.replayed_steps / counters.agent_steps
        values["time/updates_per_second"] = self._updates_per_second(counters)
        self.last_line = {name: getattr(counters, name) for name in self.last_line}
        self._write(stage, counters, values)
        self.latest.update(values)
        return values

    def evaluation_due(self, counters: Counters) -> bool:
        """Whether `evaluation.every` environment steps have passed."""
        return bool(self.settings.evaluation.every) and getattr(counters, self.clock) >= self.next_evaluation

    def already_evaluated(self, counters: Counters) -> bool:
        """Whether the agent is the one that was evaluated last."""
        return self.evaluated_at == _place(counters)

    def write_evaluation(self, stage: str, counters: Counters, result: Mapping[str, Any]) -> dict[str, float]:
        """Record one point of the learning curve; returns its numbers as they are logged."""
        self.evaluated_at = _place(counters)
        every = self.settings.evaluation.every
        if every:
            self.next_evaluation = (getattr(counters, self.clock) // every + 1) * every
        values = self._returns(counters, result) if "mean" in result else {}
        values |= {f"world/{name}": float(value) for name, value in result.get("world_model", {}).items()}
        if self.writes:
            place = {"env_steps": counters.env_steps, "updates": counters.updates, "stage": stage}
            kept = {name: value for name, value in result.items() if not name.startswith("ms_")}
            self.evaluations.add({**place, **kept, "seconds": round(counters.seconds, 3)})
        self._write(stage, counters, values)
        old = (name for name in list(self.latest) if name.startswith("world/"))  # what does not apply now is not told
        for name in old:
            del self.latest[name]
        self.latest.update(values)
        return values

    def _returns(self, counters: Counters, result: Mapping[str, Any]) -> dict[str, float]:
        """What an evaluation that played says of its returns."""
        mean, lengths = float(result["mean"]), list(result["lengths"])
        self.best = mean if self.best is None else max(self.best, mean)
        self.curve.append((counters.env_steps, mean))
        return {
            "eval/return": mean,
            "eval/std": float(result["std"]),
            "eval/length": sum(lengths) / len(lengths),
            "eval/best": self.best,
        }

    def sync(self) -> None:
        """Make everything durable."""
        if self.writes:
            self.table.sync()
            self.evaluations.sync()

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "table": self.table.state(),
            "evaluations": self.evaluations.state(),
            "best": self.best,
            "last_line": dict(self.last_line),
            "next_evaluation": self.next_evaluation,
            "evaluated_at": self.evaluated_at,
            "curve": list(self.curve),
        }

    def restore(self, state: Mapping[str, Any]) -> int:
        """Cut files back to `state`; returns how many lines were dropped."""
        self.best = state["best"]
        self.last_line = dict(state["last_line"])
        self.next_evaluation = int(state["next_evaluation"])
        self.evaluated_at = state["evaluated_at"]
        self.curve = [(int(step), float(mean)) for step, mean in state["curve"]]
        if not self.writes:
            return 0
        return self.table.restore(state["table"]) + self.evaluations.restore(int(state["evaluations"]))

    def reset(self) -> None:
        """Forget what an earlier attempt wrote."""
        if self.writes:
            self.table.restore({"rows": 0, "columns": []})
            self.evaluations.restore(0)

    def start_clock(self, counters: Counters) -> None:
        """Speeds are measured from here."""
        self._speed = (time.monotonic(), counters.updates)

    def _updates_per_second(self, counters: Counters) -> float:
        now, (then, before) = time.monotonic(), self._speed
        self._speed = (now, counters.updates)
        return (counters.updates - before) / max(now - then, 1e-9)

    def _write(self, stage: str, counters: Counters, values: Mapping[str, float]) -> None:
        if self.writes:
            place = {
                "env_steps": counters.env_steps,
                "agent_steps": counters.agent_steps,
                "updates": counters.updates,
                "generations": counters.generations,
                "episodes": counters.episodes,
                "stage": stage,
                "seconds": round(counters.seconds, 3),
            }
            self.table.add({**place, **values})
        for logger in list(self.loggers):
            try:
                logger.log_metrics(dict(values), step=counters.env_steps)
            except Exception as error:  # noqa: BLE001 - a logger is no reason to lose a run; our own table goes on
                self.loggers = [other for other in self.loggers if other is not logger]
                what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                self.say(f"{type(logger).__name__} cannot log and is left out from here on: {what}")


def _place(counters: Counters) -> tuple[int, int, int]:
    return counters.env_steps, counters.updates, counters.generations
