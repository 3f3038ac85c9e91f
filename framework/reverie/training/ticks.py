"""One tick of the current stage: collect, then learn, in units small enough that a run can stop between any two."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reverie.contracts.batch import Batch
from reverie.contracts.learner import BudgetedEnvironments, Counters, EpisodeResult, Learner
from reverie.contracts.sampling import Sampling
from reverie.contracts.view import View
from reverie.errors import NumericalFault, RunError
from reverie.recipes.schema import Settings, Stage
from reverie.training.context import LearnerContext
from reverie.training.ddp import ALONE, World
from reverie.training.faults import Tolerance, Undo
from reverie.training.keys import numpy_generator, torch_generator
from reverie.training.metrics import Averages
from reverie.training.stages import StageCursor
from reverie.training.updates import GradientUpdates, by_gradient, held


class Collects(Protocol):
    """What a tick needs of the collector."""

    def collect(self, policy: str, steps: int | None = None, episodes: int | None = None) -> Any: ...


class Remembers(Protocol):
    """What a tick needs of the replay."""

    @property
    def steps(self) -> int: ...
    def can_sample(self, batch_size: int, length: int) -> bool: ...
    def sample(self, batch_size: int, length: int, rng: Any) -> Batch: ...


@dataclass
class Pending:
    """What the current tick has done so far, so that a run may stop inside of it.

    Args:
        steps: vector steps collected.
        episodes: episodes finished.
        agent_steps: collected over all environments and processes.
        due: updates that this tick makes; None until collection is over.
        done: updates made.
        credit: replayed steps that the ratio still owes; carried from tick to tick.
    """

    steps: int = 0
    episodes: int = 0
    agent_steps: int = 0
    due: int | None = None
    done: int = 0
    credit: float = 0.0

    @property
    def begun(self) -> bool:
        """Whether a tick is under way."""
        return self.steps > 0 or self.due is not None

    def clear(self) -> None:
        """The tick is over; the credit stays."""
        self.steps = self.episodes = self.agent_steps = self.done = 0
        self.due = None


class Ticker:
    """Runs ticks.

    Args:
        agent: an assembled agent; its statistics are kept equal over all processes.
        updates: makes the gradient updates.
        environments: counted environments for learners that play on their own.
        frozen: slots that the recipe freezes for the whole run.
        stop: whether a signal asks to stop.
        convert: brings a batch to the device and precision of the agent.
        tolerance: whether an update that is not finite ends the run.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        agent: Any,
        updates: GradientUpdates,
        replay: Remembers,
        collector: Collects,
        environments: BudgetedEnvironments,
        counters: Counters,
        cursor: StageCursor,
        averages: Averages,
        frozen: Sequence[str] = (),
        stop: Callable[[], bool] = lambda: False,
        world: World = ALONE,
        convert: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        tolerance: Tolerance | None = None,
    ) -> None:
        self.settings, self.agent, self.updates = settings, agent, updates
        self.replay, self.collector, self.environments = replay, collector, environments
        self.counters, self.cursor, self.averages = counters, cursor, averages
        self.frozen, self.stop, self.world, self.convert = tuple(frozen), stop, world, convert
        self.tolerance = tolerance or Tolerance()
        self.pending = Pending()
        self.spoiled = False
        self.waits_for = 0
        """Steps in a row that a stage which is to learn has not got yet; 0 if it has."""
        self.batch: Batch | None = None
        self.episodes: list[EpisodeResult] = []
        self._clock = time.monotonic()
        self._still: dict[tuple[tuple[str, ...], tuple[str, ...]], list[nn.Parameter]] = {}
        for size in (stage.batch_shape(settings.replay, self._images)[0] for _, stage in settings.flat_stages()):
            if size % world.size:
                raise RunError(f"a batch_size is {size}, which {world.size} devices cannot share evenly")

    @property
    def _images(self) -> bool:
        return bool(self.agent.observation.images)

    def rows(self, stage: Stage) -> int:
        """Steps in one batch over all processes, B * T."""
        return math.prod(stage.batch_shape(self.settings.replay, self._images))

    def shape(self, stage: Stage) -> tuple[int, int]:
        """(B, T) of this process's part of a batch."""
        size, length = stage.batch_shape(self.settings.replay, self._images)
        return size // self.world.size, length

    def start_clock(self) -> None:
        """Seconds count from here."""
        self._clock = time.monotonic()

    def tick(self) -> bool:
        """Run one tick, or what is left of it; False if a signal stopped it before its end."""
        stage = self.cursor.stage
        self.cursor.label = self.cursor.title
        if not (self._collect(stage) and self._learn(stage)):
            return False
        self.counters.ticks += 1
        self.pending.clear()
        return True

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self.pending)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo everything since `state()`."""
        self.pending = Pending(**state)

    # Collection.

    def _collect(self, stage: Stage) -> bool:
        pending, collect = self.pending, stage.collect
        while pending.due is None and collect.policy != "none":
            done = pending.steps >= collect.steps if collect.episodes is None else pending.episodes >= collect.episodes
            if done or self.cursor.ended(self.counters):
                break
            if self._stopped():
                return False
            self._collect_step(stage)
        if pending.due is None:
            pending.due = self._due(stage)
        return True

    def _collect_step(self, stage: Stage) -> None:
        common = self._moments()
        report = self.collector.collect(stage.collect.policy, steps=1)
        for episode in report.finished:
            self._finished(episode)
        agent_steps, frames, episodes = (
            int(value) for value in self.world.sum([report.agent_steps, report.frames, len(report.finished)])
        )
        self.counters.agent_steps += agent_steps
        self.counters.env_steps += frames
        self.counters.episodes += episodes
        self.pending.steps += 1
        self.pending.episodes += episodes
        self.pending.agent_steps += agent_steps
        for name, before in common.items():
            normalizer = self.agent.normalizers[name]
            normalizer.merge(before, self.world.gather(normalizer.moments().unsqueeze(0)))
        self._advance_clock()

    def _moments(self) -> dict[str, Tensor]:
        """What all processes know of the observations before each of them sees its own; nothing to do for one alone."""
        normalizers = self.agent.normalizers.items() if self.world.size > 1 else ()
        return {name: normalizer.moments() for name, normalizer in normalizers}

    def _finished(self, episode: EpisodeResult) -> None:
        self.averages.add("train/return", episode.episode_return)
        self.averages.add("train/length", episode.length)
        self.episodes = [*self.episodes[-9:], episode]

    def _due(self, stage: Stage) -> int:
        """How many updates this tick makes; keeps the account of the replay ratio."""
        self.waits_for = 0
        if not stage.learners:
            return 0
        gradient = any(by_gradient(self.updates.learners[name]) for name in stage.learners)
        size, length = self.shape(stage)
        enough = not gradient or self.world.all(self.replay.can_sample(size, length))
        self.waits_for = 0 if enough else length
        if not enough:
            if stage.collect.policy == "none":
                raise RunError(
                    f"stage '{stage.name}' learns from the replay and collects nothing, but the replay's "
                    f"{self.replay.steps} steps do not give {size} chunks of {length}: collect more in a stage before"
                )
            return 0
        if stage.ratio is None:
            return stage.updates or 1
        ratio = stage.ratio_for(self._images) or 0.0
        self.pending.credit += ratio * self.pending.agent_steps
        return math.floor(self.pending.credit / self.rows(stage))

    # Learning.

    def _learn(self, stage: Stage) -> bool:
        pending = self.pending
        if not pending.due:
            return True
        with held(self._still_parameters(stage)):
            while pending.done < pending.due and not self.cursor.learned_enough(self.counters):
                if self._stopped():
                    return False
                self._update(stage)
                pending.done += 1
                if stage.ratio is not None:
                    pending.credit -= self.rows(stage)
                self._advance_clock()
        return True

    def _update(self, stage: Stage) -> None:
        learners = self.updates.learners
        contexts = {name: self._context(name, stage) for name in stage.learners}
        names = [name for name in stage.learners if by_gradient(learners[name])]
        if names:
            self.batch = self._sampled(*self.shape(stage))
            view = View(self.batch, self.agent, self._sampling("view"))
            self._guarded(names, view, contexts)
            self.counters.updates += 1
            self.counters.replayed_steps += self.rows(stage)
        for name in stage.learners:
            if not by_gradient(learners[name]):
                self._generation(learners[name], contexts[name])

    def _generation(self, learner: Learner, context: LearnerContext) -> None:
        """One step of a learner without gradients. Episodes that it played count on every process, whoever played."""
        counters = self.counters
        before = counters.agent_steps, counters.env_steps, counters.episodes
        with torch.no_grad():
            learner.update(context)
        counters.generations += 1
        after = counters.agent_steps, counters.env_steps, counters.episodes
        played = self.world.sum([new - old for new, old in zip(after, before, strict=True)])
        counters.agent_steps, counters.env_steps, counters.episodes = (
            old + int(more) for old, more in zip(before, played, strict=True)
        )

    def _guarded(self, names: Sequence[str], view: View, contexts: Mapping[str, LearnerContext]) -> None:
        """Update, or leave the update out where the recipe says so: no weight of the pass that failed has changed,
        the next batch is another one."""
        learners = [self.updates.learners[name] for name in names]
        undo = Undo([self.agent, *learners], self.averages) if self.tolerance.drops_updates else None
        try:
            self.updates.update(names, view, contexts)
        except NumericalFault as fault:
            told = NumericalFault(f"stage '{self.cursor.title}', {fault}")
            self.tolerance.update(told, f"batch-{self.counters.updates}-{self.world.rank}", self.batch)
            if undo is not None:
                undo()

    def _sampled(self, size: int, length: int) -> Batch:
        rng = numpy_generator(self.settings.seed, "replay", self.counters.updates, self.world.rank)
        return self.replay.sample(size, length, rng).map(self.convert)

    def _remembered(self, name: str, rows: int, length: int) -> View:
        """Chunks of this process's replay for a learner that asks for some on its own."""
        if not self.replay.can_sample(rows, length):
            raise RunError(
                f"learners/{name} starts from {length} steps of experience, but the replay's {self.replay.steps} "
                f"steps hold no chunk of {length}: collect more in a stage before it"
            )
        counters = self.counters
        place = f"remembered:{name}"
        rng = numpy_generator(self.settings.seed, place, counters.updates, counters.generations, self.world.rank)
        return View(self.replay.sample(rows, length, rng).map(self.convert), self.agent, self._sampling(place))

    def _sampling(self, place: str) -> Sampling:
        """Noise of one place in one update; the rows of all processes come from the same generator."""
        counters = self.counters
        generator = torch_generator(self.settings.seed, place, counters.updates, counters.generations)
        return Sampling(generators=[generator], shard=(self.world.rank, self.world.size))

    def _context(self, name: str, stage: Stage) -> LearnerContext:
        return LearnerContext(
            learner=name,
            agent=self.agent,
            imagination=self.agent.imagination,
            environments=self.environments,
            counters=self.counters,
            stage=stage.name,
            sampling=self._sampling(f"learner:{name}"),
            averages=self.averages,
            stop=self._asked,
            world=self.world,
            remember=lambda rows, length: self._remembered(name, rows, length),
        )

    def _still_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """What no learner of this stage trains, or what the stage or the recipe freezes."""
        key = stage.learners, stage.freeze  # not the name, which several stages may share
        if key not in self._still:
            trained = {p for name in stage.learners for p in self.updates.trained[name]}
            frozen = {p for slot in (*self.frozen, *stage.freeze) for p in self.agent.module(slot).parameters()}
            everything = [p for slot in self.agent.slots() for p in self.agent.module(slot).parameters()]
            self._still[key] = [p for p in everything if p in frozen or p not in trained]
        return self._still[key]

    def _asked(self) -> bool:
        """A learner asks whether to end early. If it is told so because of a signal, this tick can never be repeated
        to the same numbers: the run then goes back to its last checkpoint instead of saving here."""
        if self.stop():
            self.spoiled = True
            return True
        return self.cursor.ended(self.counters) is not None

    def _stopped(self) -> bool:
        return self.world.any(self.stop())

    def _advance_clock(self) -> None:
        now = time.monotonic()
        self.counters.seconds += self.world.max(now - self._clock)
        self._clock = now
