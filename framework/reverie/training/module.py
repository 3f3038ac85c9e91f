"""The agent and its learners as Lightning sees them: manual optimisation, one training step per tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from reverie.assembly.slots import ModuleMap
from reverie.contracts.learner import BudgetedEnvironments, Counters, Learner
from reverie.errors import Problem, RecipeError
from reverie.recipes.schema import Settings
from reverie.training.ddp import World
from reverie.training.faults import Tolerance
from reverie.training.metrics import Averages
from reverie.training.rollouts import CountedRollouts
from reverie.training.stages import StageCursor
from reverie.training.ticks import Ticker
from reverie.training.updates import GradientUpdates

if TYPE_CHECKING:
    from reverie.assembly.agent import Agent
    from reverie.training.data import OnlineData


class AgentModule(LightningModule):
    """Runs one tick of the current stage per training step.

    Args:
        agent: whose slots are trained.
        learners: by name.
        settings: of the recipe.
        stop: whether a signal asks to stop.
    """

    ticker: Ticker

    def __init__(
        self,
        agent: Agent,
        learners: Mapping[str, Learner],
        settings: Settings,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.agent = agent
        self.learners: ModuleMap[Learner] = ModuleMap(learners)
        self.settings = settings
        self.stop = stop
        self.counters = Counters()
        self.cursor = StageCursor(settings)
        self.averages = Averages()
        self.after_callbacks: Callable[[], None] = lambda: None
        self._of: dict[str, int] = {}

    def configure_optimizers(self) -> list[Optimizer]:
        """The optimizers of all learners, in their order."""
        found: list[Optimizer] = []
        for name, learner in self.learners.items():
            own = list(learner.optimizers())
            self._of[name] = len(own)
            found += own
        return found

    def setup(self, stage: str) -> None:
        """Refuse what would break our accounts.

        Raises:
            RecipeError: for `max_steps` and for `16-mixed`.
        """
        problems = []
        if self.trainer.max_steps != -1:
            problems.append(
                Problem(
                    what="Lightning's max_steps counts every optimizer's step and stands still in ticks without one",
                    fix="limit the run by `budget` or a stage's `until`",
                )
            )
        if self.trainer.precision == "16-mixed":
            problems.append(
                Problem(
                    what="precision 16-mixed scales losses and skips steps in silence",
                    key="trainer.precision",
                    fix="use bf16-mixed or 32-true",
                )
            )
        if problems:
            raise RecipeError(problems)

    @property
    def world(self) -> World:
        """The processes that train together."""
        return World(self.trainer.global_rank, self.trainer.world_size, self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Everything is in place: processes, devices, optimizers, environments."""
        data: OnlineData = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it in fit
        rollouts = CountedRollouts(data.factory, self.counters)
        self.ticker = self.make_ticker(data.replay, data.collector, rollouts, data.tolerance)

    def make_ticker(
        self, replay: Any, collector: Any, environments: BudgetedEnvironments, tolerance: Tolerance | None = None
    ) -> Ticker:
        """The ticker of this module over a given source of experience."""
        updates = GradientUpdates(self.agent, self.learners, self._optimizers(), self.manual_backward, self.world)
        return Ticker(
            settings=self.settings,
            agent=self.agent,
            updates=updates,
            replay=replay,
            collector=collector,
            environments=environments,
            counters=self.counters,
            cursor=self.cursor,
            averages=self.averages,
            stop=self.stop,
            world=self.world,
            convert=self._convert,
            tolerance=tolerance,
        )

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One tick; `batch` is only Lightning's clock."""
        if not self.cursor.finished:
            self.ticker.tick()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Lightning calls this when all callbacks have seen the tick: what is saved now holds what they made of it."""
        self.after_callbacks()

    def _optimizers(self) -> dict[str, list[Any]]:
        """Lightning's wrappers, which call the hooks of callbacks and precision plugins, by learner."""
        found = self.optimizers()
        everything = list(found) if isinstance(found, list) else [found]
        split, start = {}, 0
        for name, count in self._of.items():
            split[name] = everything[start : start + count]
            start += count
        return split

    def raw_optimizers(self) -> list[Optimizer]:
        """torch's optimizers, in the order of `configure_optimizers`."""
        return list(self.trainer.optimizers)

    def _convert(self, value: Tensor) -> Tensor:
        """To the device and, for floats, the precision that Lightning's plugin wants of inputs."""
        moved = value.to(self.device, non_blocking=True)
        converted = self.trainer.precision_plugin.convert_input(moved)
        return converted if isinstance(converted, torch.Tensor) else moved
