"""The collector: lets a policy act in the environments and puts what happens into the replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.learner import EpisodeResult
from reverie.contracts.specs import ActionSpec
from reverie.training.environments import VectorEnvironments
from reverie.training.replay.replay import Replay
from reverie.training.rows import Rows

Array = NDArray[Any]
Who = Literal["random", "actor", "planner"]


class Collecting(Protocol):
    """What the collector needs of an agent: a `Policy` that knows its parts, learns statistics and can be resumed."""

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> Any: ...
    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: Any,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
        who: Literal["planner", "actor"] = "planner",
    ) -> tuple[Array, Any]: ...
    def update_statistics(self, obs: Mapping[str, Array | Tensor]) -> None: ...
    def state_from(self, tensors: Mapping[str, Tensor]) -> Any: ...


@dataclass
class CollectReport:
    """What one call of `collect` did.

    Args:
        agent_steps: actions taken, over all environments.
        frames: environment steps: agent steps times action repeat, fewer where episodes ended within a repeat.
        finished: episodes that ended, in the order in which they did.
        stopped: whether `should_stop` or the budget ended it early.
    """

    agent_steps: int = 0
    frames: int = 0
    finished: list[EpisodeResult] = field(default_factory=list)
    stopped: bool = False


class Collector:
    """Acts, records, counts.

    The agent's memory of each environment is explicit and belongs to the collector. While random actions are taken it
    is not kept up; an agent that takes over in the middle of an episode starts afresh there, as a sampled chunk does.

    Args:
        agent: acts, except for random actions; its statistics see every observation.
        environments: begun on the first call of `collect`.
        replay: stream i receives the rows of environment i.
        seed: of the run; with the environment and its step it decides all random actions.
        should_stop: asked before every vector step.
    """

    def __init__(
        self,
        agent: Collecting,
        environments: VectorEnvironments,
        replay: Replay,
        *,
        seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.agent = agent
        self.environments = environments
        self.replay = replay
        self.seed = seed
        self.should_stop = should_stop
        count = environments.count
        self._is_first = np.ones(count, bool)
        self._memory: Any = None
        self._fresh = np.ones(count, bool)  # the memory knows nothing of the open episode
        self._taken = 0  # agent steps of each environment

    def collect(
        self,
        policy: Who = "planner",
        *,
        steps: int | None = None,
        episodes: int | None = None,
        max_frames: int | None = None,
    ) -> CollectReport:
        """Take `steps` agent steps in every environment, or go on until `episodes` episodes have ended.

        Args:
            policy: `random`, or the agent's `actor` or `planner` with exploration.
            steps: per environment; 1 if neither is given.
            episodes: over all environments. Episodes that are still open go on in the next call.
            max_frames: stop once this many frames were taken; overshot by less than one vector step.

        Raises:
            EnvironmentFault, NumericalFault: nothing of the faulty step enters the replay. A fault that the
                environments' tolerance covers is no error: that environment goes on with its next episode.
        """
        if steps is not None and episodes is not None:
            raise ValueError("say `steps` or `episodes`, not both")
        if steps is None and episodes is None:
            steps = 1
        report = CollectReport()
        self._begin()
        vector_steps = 0
        while (steps is None or vector_steps < steps) and (episodes is None or len(report.finished) < episodes):
            if self.should_stop() or (max_frames is not None and report.frames >= max_frames):
                report.stopped = True
                break
            self._step(policy, report)
            vector_steps += 1
        return report

    def state(self) -> dict[str, Any]:
        """Tensors and plain containers, for `torch.save`. Taken between calls of `collect`."""
        return {
            "environments": self.environments.state(),
            "memory": None if self._memory is None else dict(self._memory.tensors()),
            "is_first": self._is_first.tolist(),
            "fresh": self._fresh.tolist(),
            "taken": self._taken,
        }

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken. The replay must have been restored to the mark of the same checkpoint.

        Returns:
            One line for each environment whose open episode could not be brought back and was cut as truncated.
        """
        lost = self.environments.restore(state["environments"])
        memory = state["memory"]
        self._memory = None if memory is None else self.agent.state_from(memory)
        self._is_first = np.array(state["is_first"], bool)
        self._fresh = np.array(state["fresh"], bool)
        self._taken = int(state["taken"])
        if lost:
            rows = self.environments.first_rows(lost)
            self._record(rows, lost)
            self._is_first[lost] = True
        return [
            f"environment {index}: its open episode could not be restored and was cut (truncated)" for index in lost
        ]

    def _begin(self) -> None:
        if not self.environments.begun:
            rows = self.environments.begin()
            self._record(rows, range(self.environments.count))
            self._is_first[:] = True

    def _step(self, policy: Who, report: CollectReport) -> None:
        actions = self._random_actions() if policy == "random" else self._agent_actions(policy)
        taken = self.environments.step(actions)
        self._record(taken.rows, np.flatnonzero(taken.stepped).tolist())
        if len(taken.resets):
            self._record(taken.resets, np.flatnonzero(taken.reset).tolist())
        self._is_first = taken.reset.copy()
        self._taken += 1
        report.agent_steps += len(taken.rows)
        report.frames += taken.frames
        report.finished += taken.finished

    def _agent_actions(self, who: Literal["actor", "planner"]) -> Array:
        if self._memory is None:
            count = self.environments.count
            self._memory = self.agent.initial(count, seeds=[_policy_seed(self.seed, i) for i in range(count)])
        first = self._is_first | self._fresh
        actions, self._memory = self.agent.act(self.environments.obs, self._memory, first, explore=True, who=who)
        self._fresh[:] = False
        return actions

    def _random_actions(self) -> Array:
        self._fresh[:] = True
        count = self.environments.count
        return np.stack(
            [random_action(self.environments.action, self.seed, index, self._taken) for index in range(count)]
        )  # (n, A)

    def _record(self, rows: Rows, streams: Sequence[int]) -> None:
        if not len(rows):
            return  # every environment failed in this step
        self.agent.update_statistics(rows.obs)
        for position, stream in enumerate(streams):
            self.replay.add(stream, rows if len(rows) == 1 else rows[position : position + 1])


def random_action(action: ActionSpec, seed: int, environment: int, step: int) -> Array:
    """(A,) float32, uniform in [-1, 1] or over one-hot vectors: a function of the last three numbers only."""
    key = np.array([seed, environment], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, step, 0, 0], np.uint64)))
    if action.is_discrete:
        chosen = np.zeros(action.size, np.float32)
        chosen[generator.integers(action.size)] = 1
        return chosen
    return generator.uniform(-1, 1, action.size).astype(np.float32)


def _policy_seed(seed: int, environment: int) -> int:
    """The seed of the policy's own noise in one environment."""
    drawn = np.random.SeedSequence(seed, spawn_key=(environment, 0, 0)).generate_state(2)
    return int(drawn[0]) << 31 | int(drawn[1]) >> 1
