"""Learners from elsewhere: their own training loop under our budget, evaluation and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from torch import Tensor

from reverie.assembly.build import build_environment, build_external
from reverie.contracts.learner import Counters, ExternalLearner
from reverie.contracts.policy import Policy
from reverie.errors import Problem, RecipeError, RunError
from reverie.evaluation.protocol import evaluate
from reverie.recipes.recipe import Recipe
from reverie.training.budgets import limits, reached
from reverie.training.checked import CheckedEnv
from reverie.training.checkpoint import CheckpointWriter, list_checkpoints, newest
from reverie.training.checkpoint.randomness import capture, reinstate
from reverie.training.metrics import Averages
from reverie.training.report import Report
from reverie.training.rollouts import Counting
from reverie.training.run_folder import RunFolder
from reverie.training.signals import StopFlag


class BudgetSpent(Exception):
    """A step beyond the budget was asked for. Ends a `fit` that does not ask `should_stop`."""


class ExternalRun:
    """Satisfies `reverie.contracts.Run`.

    Args:
        recipe: whose budget and evaluation protocol hold.
        folder: of the run.
        learner: makes policies of saved tensors.
        stop: the flag that signals set.
        say: tells a person something.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        learner: ExternalLearner,
        stop: StopFlag,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings = recipe.settings
        self.seed = recipe.settings.seed
        self.budget: Mapping[str, float] = limits(recipe.settings.budget)
        self.counters = Counters()
        self.folder, self.learner, self.stop, self.say = folder, learner, stop, say
        self.factory = build_environment(recipe)
        self.report = Report(folder, recipe.settings, Averages())
        self.writer = CheckpointWriter(folder.checkpoints, recipe.settings.checkpoints.keep)
        self._clock = time.monotonic()

    def make_environments(self, count: int) -> VectorEnv[Any, Any, Any]:
        """A Gymnasium vector environment in the standard form, whose steps count towards the budget."""
        return SyncVectorEnv([self._maker(index) for index in range(count)])

    def log(self, values: Mapping[str, float]) -> None:
        """Averaged until the next line of metrics."""
        for name, value in values.items():
            self.report.averages.add(name, float(value))

    def should_stop(self) -> bool:
        """True once the budget is spent or a signal came."""
        self._advance_clock()
        return self.stop() or reached(self.budget, self.counters) is not None

    def checkpoint(self, tensors: Mapping[str, Tensor]) -> None:
        """Save named tensors as the policy so far."""
        module = {f"policy.{name}": torch.as_tensor(value) for name, value in tensors.items()}
        self.report.sync()
        self.writer.write(module, {"external": True}, {}, asdict(self.counters))
        self.writer.prune()
        self.folder.set_status("running", stage="external", **asdict(self.counters))

    def evaluate(self, policy: Policy) -> float:
        """The mean return by the recipe's protocol, recorded as a point of the curve."""
        options = self.settings.evaluation
        before = capture()
        result = evaluate(
            policy, self.factory, episodes=options.episodes, seed=options.seed, mode=options.mode, should_stop=self.stop
        )
        reinstate(before)
        self.report.write_evaluation("external", self.counters, result.as_json())
        self.say(f"{self.counters.env_steps:,} frames | evaluation {result.mean:.1f}")
        self._clock = time.monotonic()
        return result.mean

    def saved_policy(self) -> Policy:
        """What `checkpoint` saved last.

        Raises:
            RunError: if nothing was.
        """
        found = newest(self.folder.checkpoints, self.say)
        if found is None:
            raise RunError("the external learner spent the budget without saving a policy by `run.checkpoint`")
        return self.learner.policy(found.part("policy"))

    def line_if_due(self) -> None:
        """Write a line of metrics when enough environment steps have passed."""
        if self.report.line_due(self.counters):
            self.report.write_line("external", self.counters)

    def refuse_beyond_budget(self) -> None:
        """Called before each step.

        Raises:
            BudgetSpent: if no step is left.
        """
        if reached(self.budget, self.counters):
            raise BudgetSpent(f"the budget is spent after {self.counters.env_steps} environment steps")

    def _count(self, frames: int) -> None:
        self.counters.agent_steps += 1
        self.counters.env_steps += frames
        self._advance_clock()
        self.line_if_due()

    def _maker(self, index: int) -> Callable[[], gym.Env[Any, Any]]:
        def make() -> gym.Env[Any, Any]:
            made = CheckedEnv(self.factory.make(index), self.factory.observation, self.factory.action, index=index)
            return _EpisodeCount(Counting(made, self.factory.action_repeat, self._count), self)

        return make

    def _advance_clock(self) -> None:
        now = time.monotonic()
        self.counters.seconds += now - self._clock
        self._clock = now


class _EpisodeCount(gym.Wrapper[Any, Any, Any, Any]):
    """Counts episodes and records their returns."""

    def __init__(self, env: gym.Env[Any, Any], run: ExternalRun) -> None:
        super().__init__(env)
        self._run = run
        self._total = 0.0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._total = 0.0
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._run.refuse_beyond_budget()
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._total += float(reward)
        if terminated or truncated:
            self._run.counters.episodes += 1
            self._run.log({"train/return": self._total})
        return obs, reward, terminated, truncated, info


def fit_external(recipe: Recipe, folder: RunFolder, stop: StopFlag, say: Callable[[str], None]) -> str:
    """Run an external learner to the end of its budget; the status of the run.

    A run that was interrupted begins again: what an external learner keeps between steps is its own affair.

    Raises:
        RecipeError: without a budget.
    """
    if not limits(recipe.settings.budget):
        raise RecipeError(
            [
                Problem(
                    what="an external learner needs a budget: nothing else tells it when to end",
                    key="budget",
                    fix="add `budget: {env_steps: 20000}`",
                )
            ]
        )
    factory = build_environment(recipe)
    learner = build_external(recipe, factory.observation, factory.action)
    run = ExternalRun(recipe, folder, learner, stop, say)
    run.report.reset()
    try:
        policy = learner.fit(run.make_environments, run)
    except BudgetSpent:
        policy = run.saved_policy()
    if stop():
        return "interrupted"
    run.report.write_line("external", run.counters)
    if not run.report.already_evaluated(run.counters):
        run.evaluate(policy)
    if not list_checkpoints(folder.checkpoints):
        raise RunError("the external learner never saved its policy by `run.checkpoint`")
    folder.set_status("running", stage="external", **asdict(run.counters))
    return "completed"
