"""Real episodes for learners that play on their own, counted into the budget of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.learner import Counters, EpisodeResult
from reverie.contracts.policy import Policy


class CountedRollouts:
    """Satisfies `reverie.contracts.BudgetedEnvironments`.

    Args:
        factory: makes the environments; every step of theirs is checked.
        counters: of the run.
    """

    def __init__(self, factory: EnvironmentFactory, counters: Counters) -> None:
        self.factory = factory
        self.counters = counters

    def rollout(self, policy: Policy, seeds: Sequence[int], *, explore: bool = False) -> list[EpisodeResult]:
        """One whole episode per seed, all side by side: row i of the policy's batch plays `seeds[i]`."""
        from reverie.evaluation.episodes import play

        counting = CountingFactory(self.factory, self._count)
        played = play(policy, counting, seeds, mode="sample" if explore else "mode", explore=explore)
        self.counters.episodes += len(played.episodes)
        return played.episodes

    def _count(self, frames: int) -> None:
        self.counters.agent_steps += 1
        self.counters.env_steps += frames


class Counting(gym.Wrapper[Any, Any, Any, Any]):
    """Tells how many frames each step took."""

    def __init__(self, env: gym.Env[Any, Any], repeat: int, count: Callable[[int], None]) -> None:
        super().__init__(env)
        self._repeat, self._count = repeat, count

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._count(int(info.get("frames", self._repeat)))
        return obs, reward, terminated, truncated, info


class CountingFactory(EnvironmentFactory):
    """Makes another factory's environments and tells the frames of each of their steps."""

    def __init__(self, factory: EnvironmentFactory, count: Callable[[int], None]) -> None:
        super().__init__(factory.config)
        self.observation, self.action = factory.observation, factory.action
        self.action_repeat = factory.action_repeat
        self._factory, self._count = factory, count

    def make(self, index: int = 0, *, render: bool = False) -> Counting:
        return Counting(self._factory.make(index, render=render), self.action_repeat, self._count)
