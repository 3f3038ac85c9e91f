"""Where experience comes from: environments, collector and replay of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import LightningDataModule

from reverie.assembly.data import without_environment
from reverie.contracts.environment import EnvironmentFactory
from reverie.recipes.schema import Settings
from reverie.training.collector import Collector
from reverie.training.environments import VectorEnvironments
from reverie.training.faults import Tolerance
from reverie.training.keys import key
from reverie.training.replay import Replay

if TYPE_CHECKING:
    from reverie.assembly.agent import Agent
    from reverie.training.ddp import World
    from reverie.training.offline import Recorded

TICKS_PER_EPOCH = 1_000


class Ticks:
    """What Lightning loops over: a fixed number of ticks whose value means nothing.

    Sized, so that Lightning prefetches nothing; the count that matters is our own, in `Counters.ticks`.
    """

    def __init__(self, count: int = TICKS_PER_EPOCH) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class OnlineData(LightningDataModule):
    """Owns vector environments, collector and replay. Collection and sampling happen inside the tick.

    Args:
        settings: of the recipe.
        agent: acts and gathers statistics of observations.
        factory: makes the environments.
        folder: of the replay; each process has a part of its own.
        tolerance: what faults are put up with; none by default.
        recorded: data that fills a stream of its own, behind those of the environments.
    """

    environments: VectorEnvironments
    replay: Replay
    collector: Collector

    def __init__(
        self,
        settings: Settings,
        agent: Agent,
        factory: EnvironmentFactory,
        folder: Path,
        tolerance: Tolerance | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        super().__init__()
        self.tolerance = tolerance or Tolerance()
        self.recorded = recorded
        self.settings, self.agent, self.factory, self.folder = settings, agent, factory, folder
        self.ready = False

    def setup(self, stage: str | None = None) -> None:
        """Make everything; Lightning calls this in each process once it knows its rank."""
        if self.ready:
            return
        rank = self.trainer.global_rank if self.trainer is not None else 0
        options = self.settings.environments
        seed = self.settings.seed if rank == 0 else key(self.settings.seed, "rank", rank) & 0x7FFFFFFF
        count = 0 if without_environment(self.factory) else options.count
        self.environments = VectorEnvironments(
            self.factory, count, options.workers, options.timeout, seed, tolerance=self.tolerance
        )
        folder = self.folder if rank == 0 else self.folder / f"process-{rank}"
        streams = count + (self.recorded is not None)
        self.replay = Replay(folder, self.factory.observation, self.factory.action, streams, self.settings.replay)
        self.collector = Collector(self.agent, self.environments, self.replay, seed=seed)
        self.ready = True

    def fill(self, world: World) -> None:
        """Take recorded data in, at the beginning of a run. The statistics of observations are those of the first
        process.

        Raises:
            RunError: if it has changed since the run was made.
        """
        if self.recorded is not None:
            self.recorded.fill(self.replay, self.environments.count, self.agent, world.rank, world.size)
            world.same(list(self.agent.normalizers.buffers()) if world.size > 1 else [])

    def train_dataloader(self) -> Ticks:
        """A sized loader whose values are ignored."""
        return Ticks()

    def close(self) -> None:
        """End the environments. May be called twice."""
        if self.ready:
            self.environments.close()
            self.ready = False
