"""What happens between two ticks: lines, evaluations, stages, checkpoints, signals and the end of the run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback, Trainer
from safetensors.torch import save_file

from reverie.assembly.build import NobodyActs
from reverie.contracts.learner import Counters
from reverie.errors import NumericalFault, RunError
from reverie.training.checkpoint import (
    Checkpoint,
    CheckpointFault,
    CheckpointWriter,
    list_checkpoints,
    open_checkpoint,
)
from reverie.training.checkpoint.folder import TRAINING
from reverie.training.checkpoint.randomness import capture, reinstate
from reverie.training.replay import ReplayMark
from reverie.training.report import Report
from reverie.training.run_folder import RunFolder
from reverie.training.signals import StopFlag

if TYPE_CHECKING:
    from reverie.training.data import OnlineData
    from reverie.training.module import AgentModule

_SHARED = frozenset({"optimizers", "counters", "cursor", "report", "world"})
_OWN = frozenset({"tick", "averages", "collector", "replay", "randomness"})
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError, RuntimeError, OverflowError)


class Keeper(Callback):
    """Keeps a run's books. It comes first among the callbacks, so that others see what it recorded.

    Args:
        folder: of the run.
        module: what is trained.
        data: where experience comes from.
        stop: the flag that signals set.
        resuming: go on from the newest checkpoint that is whole, if there is any.
        say: tells a person something.
    """

    def __init__(
        self,
        folder: RunFolder,
        module: AgentModule,
        data: OnlineData,
        stop: StopFlag,
        resuming: bool = False,
        say: Callable[[str], None] = lambda text: None,
        writes: bool = True,
    ) -> None:
        self.folder, self.module, self.data, self.stop, self.say = folder, module, data, stop, say
        self.resuming = resuming
        self._marks: dict[str, ReplayMark] = {}
        self.settings = module.settings
        self.report = Report(folder, module.settings, module.averages, writes)
        self.writer = CheckpointWriter(folder.checkpoints, module.settings.checkpoints.keep)
        self.outcome = ""
        self._saved_at = (time.monotonic(), 0)

    # Lightning calls these.

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen to signals (Lightning has put its own handlers in place by now), and restore or save for the first
        time."""
        self.stop.install()
        self.report.loggers = trainer.loggers
        if not (self.resuming and self._restore_newest()):
            self._save()
        self._set_status("running")
        self.module.ticker.start_clock()
        self.report.start_clock(self.module.counters)
        if not self.module.ticker.pending.begun:
            self._between_ticks(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Between two ticks, or inside of one that a signal stopped."""
        if self.outcome:
            return
        if self.module.ticker.pending.begun:
            self._leave(trainer)
        else:
            self._between_ticks(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """A batch that made numbers blow up is kept for those who want to look at it."""
        batch = self.module.ticker.batch if hasattr(self.module, "ticker") else None
        if isinstance(exception, NumericalFault) and batch is not None:
            self.folder.faults.mkdir(exist_ok=True)
            path = self.folder.faults / f"batch-{self.module.counters.updates}-{self.module.world.rank}.safetensors"
            tensors = {f"obs.{name}": value for name, value in batch.obs.items()}
            tensors |= {name: value for name, value in vars(batch).items() if name != "obs"}
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
            exception.args = (f"{exception}; the batch is in {path}",)

    # Between two ticks.

    def _between_ticks(self, trainer: Trainer) -> None:
        module = self.module
        counters, cursor = module.counters, module.cursor
        moved = not cursor.finished and cursor.ended(counters) is not None
        if moved:
            cursor.advance(counters)
        if moved or self.report.line_due(counters):
            self._log(self.report.write_line(cursor.label, counters))
        if moved and not cursor.finished:
            self._set_status("running")
        due = cursor.finished and not self.report.already_evaluated(counters)
        if (due or self.report.evaluation_due(counters)) and not self._evaluate():
            self._leave(trainer)
        elif cursor.finished:
            self._finish(trainer)
        elif module.world.any(self.stop()):
            self._leave(trainer)
        elif module.world.any(self._save_due()):
            self._save()

    def _evaluate(self) -> bool:
        """Evaluate by the recipe's protocol, in environments of its own; False if a signal stopped it."""
        from reverie.evaluation.protocol import EvaluationStopped

        module = self.module
        if isinstance(module.agent.planner, NobodyActs):
            self.report.evaluated_at = None
            self.report.next_evaluation = 2**62
            return True
        entry: dict[str, Any] | None = None
        if module.world.first:
            began = time.process_time()
            try:
                entry = self._evaluated()
                entry["cpu_seconds"] = round(time.process_time() - began, 3)
            except EvaluationStopped:
                entry = None
        if module.world.any(module.world.first and entry is None):
            return False
        entry = entry or {}
        if module.world.size > 1:
            entry = self._from_first(entry)
        self._log(self.report.write_evaluation(module.cursor.label, module.counters, entry))
        self.module.ticker.start_clock()
        return True

    def _evaluated(self) -> dict[str, Any]:
        """Play the episodes, and judge the world model on them where the recipe asks for it."""
        from reverie.evaluation.judged import evaluate_and_judge
        from reverie.evaluation.protocol import evaluate

        agent, factory, settings = self.module.agent, self.data.factory, self.settings.evaluation
        options: dict[str, Any] = {
            "episodes": settings.episodes,
            "seed": settings.seed,
            "mode": settings.mode,
            "should_stop": self.stop,
        }
        if not settings.world_model:
            return evaluate(agent, factory, **options).as_json()
        configs = [learner.config for learner in self.module.learners.values()]
        result, report = evaluate_and_judge(agent, factory, configs, **options)
        return {**result.as_json(), "world_model": report.numbers()}

    def _from_first(self, entry: dict[str, Any]) -> dict[str, Any]:
        shared: dict[str, Any] = self.module.trainer.strategy.broadcast(entry, src=0)
        return shared

    def _log(self, values: dict[str, float]) -> None:
        """Let Lightning's callbacks see the numbers as `trainer.callback_metrics`."""
        if self.module.trainer.training and self.module._current_fx_name in ("on_train_batch_end", "training_step"):
            self.module.log_dict(values, logger=False, on_step=True, on_epoch=False)

    # Ends.

    def _finish(self, trainer: Trainer) -> None:
        self._save()
        self.outcome = "completed"
        trainer.should_stop = True

    def _leave(self, trainer: Trainer) -> None:
        """A signal asked to stop: save here, unless a learner cut its work short because of it."""
        if self.module.world.any(self.module.ticker.spoiled):
            self.say("a learner was interrupted in the middle of an update: resuming repeats from the last checkpoint")
        else:
            self._save()
        self.outcome = "interrupted"
        trainer.should_stop = True

    # Saving and restoring.

    def _save_due(self) -> bool:
        then, tick = self._saved_at
        options = self.settings.checkpoints
        by_ticks = options.ticks is not None and self.module.counters.ticks - tick >= options.ticks
        return by_ticks or time.monotonic() - then >= options.minutes * 60

    def _save(self) -> None:
        """Write a checkpoint.

        Raises:
            RunError: if the disk does not take it; the one before stays good.
        """
        try:
            self._write()
        except OSError as error:
            root = self.folder.checkpoints
            free = shutil.disk_usage(root).free if root.is_dir() else 0
            raise RunError(
                f"the checkpoint could not be written to {root} ({free:,} bytes are free): {error}"
            ) from error

    def _write(self) -> None:
        module = self.module
        mark = self.data.replay.flush()
        self.report.sync()
        shared = {
            "optimizers": [optimizer.state_dict() for optimizer in module.raw_optimizers()],
            "counters": asdict(module.counters),
            "cursor": module.cursor.state(),
            "report": self.report.state(),
            "world": module.world.size,
        }
        own = {
            "tick": module.ticker.state(),
            "averages": module.averages.state(),
            "collector": self.data.collector.state(),
            "replay": mark.to_dict(),
            "randomness": capture(),
        }
        path = self.writer.write(module.state_dict(), shared, own, asdict(module.counters), module.world)
        self._marks[path.name] = mark
        self._prune()
        self._saved_at = (time.monotonic(), module.counters.ticks)
        self._set_status("running")

    def _prune(self) -> None:
        """Old checkpoints go, and then the replay files that none of the others needs."""
        if self.module.world.first:
            self.writer.prune()
        self.module.world.barrier()
        kept = {path.name: path for path in list_checkpoints(self.folder.checkpoints)}
        for name, path in kept.items():
            if name not in self._marks:
                try:
                    self._marks[name] = ReplayMark.from_dict(self._parts(open_checkpoint(path))[1]["replay"])
                except RunError as fault:
                    self.say(f"nothing of the replay is pruned while {name} cannot be read: {fault}")
                    return
        self._marks = {name: mark for name, mark in self._marks.items() if name in kept}
        self.data.replay.prune(self._marks.values())

    @property
    def _own_file(self) -> str:
        return f"process-{self.module.world.rank}.pt"

    def _restore_newest(self) -> bool:
        """Walk from the newest checkpoint to the oldest until one is whole, its replay included; false if there is
        none at all, and the run begins anew.

        Raises:
            CheckpointFault: if there are checkpoints, but none can be used.
        """
        world = self.module.world
        skipped = []
        for path in list_checkpoints(self.folder.checkpoints):
            fault: RunError | None = None
            try:
                checkpoint = open_checkpoint(path)
                shared, own = self._parts(checkpoint)
                mark = ReplayMark.from_dict(own["replay"])
                restored = self.data.replay.restore(mark)
            except RunError as error:
                fault = error
            if not world.any(fault is not None):
                if restored.dropped_rows:
                    self.say(f"dropped {restored.dropped_rows} replay rows collected after {path.name}")
                self._marks[path.name] = mark
                try:
                    self._restore(checkpoint, shared, own)
                except _MALFORMED as error:  # files of the right form that do not hold what ours hold
                    what = str(error).strip().partition("\n")[0][:200]
                    raise CheckpointFault(
                        f"{path} cannot be restored, its files do not fit this run: {type(error).__name__}: {what}"
                    ) from error
                return True
            skipped.append(f"skipped {path.name}: {fault or 'another process cannot read its part'}")
            self.say(skipped[-1])
        if skipped:
            raise CheckpointFault(f"no checkpoint of {self.folder.path} can be used\n" + "\n".join(skipped))
        self.data.replay.restore(ReplayMark((), 0, self.data.replay.streams))
        self.report.reset()
        return False

    def _parts(self, checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Any]]:
        """What all processes share, and what is this one's own.

        Raises:
            CheckpointFault: naming the file that does not hold it.
        """
        found = []
        for file, expected in ((TRAINING, _SHARED), (self._own_file, _OWN)):
            part = checkpoint.plain(file)
            if not isinstance(part, dict) or not expected <= part.keys():
                raise CheckpointFault(f"{checkpoint.path / file} does not hold {', '.join(sorted(expected))}")
            found.append(part)
        return found[0], found[1]

    def _restore(self, checkpoint: Checkpoint, shared: dict[str, Any], own: dict[str, Any]) -> None:
        module = self.module
        if shared["world"] != module.world.size:
            raise RunError(f"this run was trained by {shared['world']} processes, not {module.world.size}")
        module.load_state_dict(checkpoint.module_state())
        for optimizer, state in zip(module.raw_optimizers(), shared["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        for name, value in asdict(Counters(**shared["counters"])).items():
            setattr(module.counters, name, type(getattr(module.counters, name))(value))
        module.cursor.restore(shared["cursor"])
        module.averages.restore(own["averages"])
        module.ticker.restore(own["tick"])
        for line in self.data.collector.restore(own["collector"]):
            self.say(line)
        dropped = self.report.restore(shared["report"])
        if dropped:
            self.say(f"dropped {dropped} lines of metrics written after {checkpoint.name}")
        reinstate(own["randomness"])
        self._saved_at = (time.monotonic(), module.counters.ticks)

    def _set_status(self, status: str) -> None:
        if self.module.world.first:
            self.folder.set_status(status, stage=self.module.cursor.title, **asdict(self.module.counters))
