"""What happens between two ticks: lines, evaluations, stages, checkpoints, signals and the end of the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pytorch_lightning import Callback, Trainer

from reverie.assembly.build import NobodyActs
from reverie.assembly.data import without_environment
from reverie.errors import EnvironmentFault
from reverie.training.offline import held_out_recordings
from reverie.training.report import Report
from reverie.training.run_folder import RunFolder
from reverie.training.saving import Saver
from reverie.training.signals import StopFlag

if TYPE_CHECKING:
    from reverie.evaluation.recording import Recording
    from reverie.training.data import OnlineData
    from reverie.training.module import AgentModule


class Keeper(Callback):
    """Keeps a run's books. It comes first among the callbacks, so that others see what it recorded, and saves when all
    of them have seen a tick, so that their state belongs to it.

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
        self.settings = module.settings
        clock: Literal["env_steps", "updates"] = "updates" if without_environment(data.factory) else "env_steps"
        self.report = Report(folder, module.settings, module.averages, writes, say, clock)
        self.saver = Saver(folder, module, data, self.report, say)
        self.outcome = ""
        self.told_of = -1
        """The last stage of which was said that it waits."""
        self.unproven = False
        """Nothing has been saved yet since a checkpoint was restored."""
        self._due: Callable[[Trainer], None] | None = None
        self._saved_at = (time.monotonic(), 0)
        module.after_callbacks = self._settle

    # Lightning calls these.

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen to signals (Lightning has put its own handlers in place by now), and restore or save for the first
        time."""
        self.stop.install()
        self.report.loggers = trainer.loggers
        if self.resuming and self.saver.restore_newest():
            self._saved_at = (time.monotonic(), self.module.counters.ticks)
            self.unproven = True
        else:
            self.data.fill(self.module.world)
            self._save()
        self._set_status("running")
        self.module.ticker.start_clock()
        self.report.start_clock(self.module.counters)
        if not self.module.ticker.pending.begun:
            self._due = self._between_ticks()
            self._settle()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Between two ticks, or inside of one that a signal stopped."""
        if not self.outcome:
            self._due = self._leave if self.module.ticker.pending.begun else self._between_ticks()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Somebody else's callback stopped the training by `trainer.should_stop`: save here, too."""
        if not self.outcome:
            self._leave(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Values that are not finite are written down wherever they came from: also from the rollouts of learners that
        play on their own."""
        if isinstance(exception, EnvironmentFault) and exception.evidence is not None:
            exception.args = (f"{exception}; {self.data.tolerance.keep(exception.place, exception.evidence)}",)

    # Between two ticks.

    def _settle(self) -> None:
        """Save, leave or finish, as the last look at the run said."""
        due, self._due = self._due, None
        if due is not None:
            due(self.module.trainer)

    def _between_ticks(self) -> Callable[[Trainer], None] | None:
        """Go on to the next stage, write down and evaluate what is due; what is to be done with the run after that."""
        module = self.module
        counters, cursor = module.counters, module.cursor
        moved = not cursor.finished and cursor.ended(counters) is not None
        if moved:
            cursor.advance(counters)
            for name, others in cursor.absences().items():
                module.ticker.updates.rejoin(name, others)
        if moved or self.report.line_due(counters):
            self._log(self.report.write_line(cursor.label, counters))
        if moved and not cursor.finished:
            self._set_status("running")
        elif not moved:
            self._tell_of_waiting()
        due = cursor.finished and not self.report.already_evaluated(counters)
        if (due or self.report.evaluation_due(counters)) and not self._evaluate():
            return self._leave
        if cursor.finished:
            return self._finish
        if module.world.any(self.stop()):
            return self._leave
        return self._keep if module.world.any(self._save_due()) else None

    def _tell_of_waiting(self) -> None:
        """Once per stage: a run whose environments give short pieces each collects for long before it learns."""
        cursor, length = self.module.cursor, self.module.ticker.waits_for
        if length and self.told_of != cursor.index:
            self.told_of = cursor.index
            self.say(
                f"the stage '{cursor.title}' waits: a chunk has {length} steps, and no environment has given so many "
                f"in a row yet ({self.module.counters.agent_steps:,} in all); collect more before it, or make its "
                "chunks shorter (`length`)"
            )

    def _evaluate(self) -> bool:
        """Evaluate by the recipe's protocol, in environments of its own; False if a signal stopped it."""
        module = self.module
        alone = without_environment(self.data.factory)
        if (alone and not self._held_out()) or (not alone and isinstance(module.agent.planner, NobodyActs)):
            self.report.evaluated_at = None
            self.report.next_evaluation = 2**62
            return True
        entry = self._whole_evaluation() if module.world.first else None
        if module.world.any(module.world.first and entry is None):
            return False
        entry = entry or {}
        if module.world.size > 1:
            entry = self._from_first(entry)
        self._log(self.report.write_evaluation(module.cursor.label, module.counters, entry))
        self.module.ticker.start_clock()
        return True

    def _whole_evaluation(self) -> dict[str, Any] | None:
        """None if a signal stopped it. An environment that fails, where the recipe puts up with that, has all episodes
        played again: leaving one out would favour some over others."""
        from reverie.evaluation.protocol import EvaluationStopped

        while True:
            began = time.process_time()
            try:
                return {**self._evaluated(), "cpu_seconds": round(time.process_time() - began, 3)}
            except EvaluationStopped:
                return None
            except EnvironmentFault as fault:
                self.data.tolerance.environment(fault, "the evaluation is played again from its beginning")

    def _evaluated(self) -> dict[str, Any]:
        """Play the episodes, and judge the world model on them where the recipe asks for it; without an environment,
        judge it on the data that is held out."""
        from reverie.evaluation.judged import evaluate_and_judge, judge_recorded
        from reverie.evaluation.protocol import evaluate

        agent, factory, settings = self.module.agent, self.data.factory, self.settings.evaluation
        if without_environment(factory):
            learners = [learner.config for learner in self.module.learners.values()]
            report = judge_recorded(
                agent, self._held_out(), learners, own=False, mode=settings.mode, seed=settings.seed
            )
            return {"world_model": report.numbers()}
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

    def _held_out(self) -> list[Recording]:
        agent = self.module.agent
        return held_out_recordings(self.folder.path, agent.observation, agent.action)

    def _from_first(self, entry: dict[str, Any]) -> dict[str, Any]:
        shared: dict[str, Any] = self.module.trainer.strategy.broadcast(entry, src=0)
        return shared

    def _log(self, values: dict[str, float]) -> None:
        """Let Lightning's callbacks see the numbers as `trainer.callback_metrics`."""
        if self.module.trainer.training and self.module._current_fx_name in ("on_train_batch_end", "training_step"):
            self.module.log_dict(values, logger=False, on_step=True, on_epoch=False)

    # Ends.

    def _keep(self, trainer: Trainer) -> None:
        self._save()

    def _finish(self, trainer: Trainer) -> None:
        told = self.module.cursor.nothing_learned(self.module.counters)
        if told:
            self.say(told)
        self._save()
        self.outcome = "completed"
        trainer.should_stop = True

    def _leave(self, trainer: Trainer) -> None:
        """A signal or a callback asked to stop: save here, unless a learner cut its work short because of it."""
        if self.module.world.any(self.module.ticker.spoiled):
            self.say("a learner was interrupted in the middle of an update: resuming repeats from the last checkpoint")
        else:
            self._save()
        self.outcome = "interrupted"
        trainer.should_stop = True

    # Books.

    def _save_due(self) -> bool:
        then, tick = self._saved_at
        options = self.settings.checkpoints
        by_ticks = options.ticks is not None and self.module.counters.ticks - tick >= options.ticks
        return by_ticks or time.monotonic() - then >= options.minutes * 60

    def _save(self) -> None:
        self.saver.save()
        self.unproven = False
        self._saved_at = (time.monotonic(), self.module.counters.ticks)
        self._set_status("running")

    def _set_status(self, status: str) -> None:
        if self.module.world.first:
            counts = {**asdict(self.module.counters), **self.data.tolerance.state()}
            self.folder.set_status(status, stage=self.module.cursor.title, **counts)
