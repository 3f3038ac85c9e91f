"""Whole episodes, side by side: what evaluations and dreams are made of."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.learner import EpisodeResult
from reverie.contracts.policy import Policy
from reverie.contracts.specs import ActionSpec
from reverie.errors import NumericalFault, ReverieError
from reverie.training.environments import CheckedEnv

Array = NDArray[Any]
Mode = Literal["mode", "sample"]


class EvaluationStopped(ReverieError):
    """`should_stop` asked for an end before every episode was over; a partial result would favour short episodes."""


@dataclass(frozen=True)
class Arrival:
    """What a watcher sees: one row of one episode, in arrival alignment.

    Args:
        row: which of the episodes.
        environment: to render it; no watcher may step it.
        obs: entries (*shape) of the observation that arrived.
        action: (A,), the action that led here; zeros at the first step.
        reward: on arrival; 0 at the first step.
        is_first, is_terminal, is_last: as in `Batch`.
    """

    row: int
    environment: Any
    obs: dict[str, Array]
    action: Array
    reward: float
    is_first: bool
    is_terminal: bool
    is_last: bool


@dataclass
class Played:
    """Finished episodes, in the order of their seeds, and how long the policy thought.

    Args:
        episodes: one result per seed; `length` counts agent steps.
        calls: how often the policy was asked for a batch of actions.
        seconds: how long it took to answer, over all calls.
    """

    episodes: list[EpisodeResult] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0


def play(
    policy: Policy,
    factory: EnvironmentFactory,
    seeds: Sequence[int],
    *,
    mode: Mode = "mode",
    explore: bool = False,
    should_stop: Callable[[], bool] | None = None,
    max_steps: int | None = None,
    watch: Callable[[Arrival], None] | None = None,
    render: bool = False,
) -> Played:
    """One whole episode per seed, all side by side in one batch; row i of the batch plays `seeds[i]`.

    Rows that are over stay in the batch with their last observation (the policy's answer for them is dropped), so that
    the batch keeps its shape and the other rows their noise. No global random number generator is left changed.

    Args:
        policy: acts for `len(seeds)` environments.
        factory: makes environment i for row i; each is checked on every step.
        seeds: reset seed of each episode; also what the policy's own randomness is made from.
        mode: passed on to policies that know it (`Agent.act`).
        explore: whether the policy adds its exploration.
        should_stop: asked before each step.
        max_steps: agent steps after which an episode counts as over, for environments without a time limit.
        watch: called with every row that arrives.
        render: make environments whose `render()` gives frames.

    Raises:
        EvaluationStopped: `should_stop` said so.
        EnvironmentFault: an environment gave what it may not.
        NumericalFault: the policy gave an action that is not finite.
    """
    environments: list[Any] = []
    with preserved_randomness(seeds[0] if seeds else 0), evaluating(policy):
        try:
            for row in range(len(seeds)):
                environments.append(checked(factory, row, render=render))
            return _Table(environments, factory.action, seeds, max_steps, watch).run(policy, mode, explore, should_stop)
        finally:
            for environment in environments:
                environment.close()


class _Table:
    """The open episodes of one call of `play`."""

    def __init__(
        self,
        environments: Sequence[Any],
        action: ActionSpec,
        seeds: Sequence[int],
        max_steps: int | None,
        watch: Callable[[Arrival], None] | None,
    ) -> None:
        self.environments = environments
        self.action = action
        self.seeds = [int(seed) for seed in seeds]
        self.max_steps = max_steps
        self.watch = watch
        self.observations: list[dict[str, Array]] = []
        self.returns = [0.0] * len(seeds)
        self.lengths = [0] * len(seeds)
        self.results: list[EpisodeResult | None] = [None] * len(seeds)

    def run(self, policy: Policy, mode: Mode, explore: bool, should_stop: Callable[[], bool] | None) -> Played:
        played = Played()
        options: dict[str, Any] = {"mode": mode} if takes_mode(policy) else {}
        state = policy.initial(len(self.seeds), seeds=self.seeds)
        self._reset()
        is_first = np.ones(len(self.seeds), dtype=bool)
        while any(result is None for result in self.results):
            if should_stop is not None and should_stop():
                raise EvaluationStopped("the evaluation was stopped before its episodes were over")
            began = time.perf_counter()
            actions, state = policy.act(self._stacked(), state, is_first, explore=explore, **options)
            played.seconds += time.perf_counter() - began
            played.calls += 1
            self._step(np.asarray(actions, dtype=np.float32))
            is_first = np.zeros(len(self.seeds), dtype=bool)
        played.episodes = [result for result in self.results if result is not None]
        return played

    def _stacked(self) -> dict[str, Array]:
        """Entries (n, *shape)."""
        return {key: np.stack([obs[key] for obs in self.observations]) for key in self.observations[0]}

    def _reset(self) -> None:
        nothing = np.zeros(self.action.size, dtype=np.float32)
        for row, environment in enumerate(self.environments):
            obs, _ = environment.reset(seed=self.seeds[row])
            self.observations.append(obs)
            self._tell(row, nothing, 0.0, is_first=True)

    def _step(self, actions: Array) -> None:
        for row, environment in enumerate(self.environments):
            if self.results[row] is not None:
                continue
            obs, reward, terminated, truncated, _ = environment.step(self._executable(actions[row], row))
            self.observations[row] = obs
            self.returns[row] += float(reward)
            self.lengths[row] += 1
            over = bool(terminated or truncated) or self.lengths[row] == self.max_steps
            self._tell(row, actions[row], float(reward), is_terminal=bool(terminated), is_last=over)
            if over:
                self.results[row] = EpisodeResult(
                    self.returns[row], self.lengths[row], self.seeds[row], bool(terminated)
                )

    def _executable(self, action: Array, row: int) -> Any:
        """(A,) as components see it -> what the environment's `step` takes."""
        if not np.isfinite(action).all():
            raise NumericalFault(
                f"the policy gave an action that is not finite for episode {row} at step {self.lengths[row]}: {action}"
            )
        return int(action.argmax()) if self.action.is_discrete else action.clip(-1.0, 1.0)

    def _tell(
        self,
        row: int,
        action: Array,
        reward: float,
        *,
        is_first: bool = False,
        is_terminal: bool = False,
        is_last: bool = False,
    ) -> None:
        if self.watch is not None:
            obs = {key: np.array(value) for key, value in self.observations[row].items()}
            self.watch(Arrival(row, self.environments[row], obs, action.copy(), reward, is_first, is_terminal, is_last))


def checked(factory: EnvironmentFactory, index: int, *, render: bool = False) -> Any:
    """Environment `index`, stopped at the first value that is not finite or breaks its own spaces."""
    return CheckedEnv(factory.make(index, render=render), factory.observation, factory.action, index=index)


def takes_mode(policy: Policy) -> bool:
    """Whether `policy.act` knows the keyword `mode` (an `Agent` does, a wrapped or random policy need not)."""
    return "mode" in inspect.signature(policy.act).parameters


@contextmanager
def preserved_randomness(seed: int) -> Iterator[None]:
    """Inside, the global generators of Python, NumPy and torch start from `seed`; afterwards they are as before.

    Nothing here draws from them on purpose; a library below might.
    """
    before_python, before_numpy = random.getstate(), np.random.get_state()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(before_python)
            np.random.set_state(before_numpy)


@contextmanager
def evaluating(policy: Any) -> Iterator[None]:
    """Inside, a policy that is a module is in evaluation mode; afterwards each of its modules is as before."""
    modules = list(policy.modules()) if isinstance(policy, nn.Module) else []
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was
