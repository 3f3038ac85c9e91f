"""Environments side by side: checked on every step, seeded per episode, and restorable after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.learner import EpisodeResult
from reverie.contracts.specs import ActionSpec
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.training.checked import CheckedEnv
from reverie.training.rows import Rows, reset_rows, step_rows
from reverie.training.workers import WorkerVector

__all__ = ["CheckedEnv", "StepRows", "VectorEnvironments", "episode_seed"]

Array = NDArray[Any]
OnStep = Callable[[int, int], None]
"""Called after every vector step with the agent steps and the frames that it took, summed over environments."""


def episode_seed(seed: int, stream: int, episode: int) -> int:
    """The reset seed of one episode: a function of these three numbers only, in 0 ... 2**31 - 1."""
    drawn = np.random.SeedSequence(seed, spawn_key=(stream, episode)).generate_state(1)[0]
    return int(drawn) & 0x7FFFFFFF


@dataclass(frozen=True)
class StepRows:
    """What one vector step gave.

    Args:
        rows: one row of each of the n environments.
        resets: first rows of the episodes that follow the finished ones; fewer than n.
        reset: (n,) bool, which environments `resets` belongs to, in order.
        frames: environment steps, over all environments.
        finished: results of the episodes that ended, in the order of their environments.
    """

    rows: Rows
    resets: Rows
    reset: Array
    frames: int
    finished: list[EpisodeResult]


@dataclass
class OpenEpisode:
    """The bookkeeping of one environment."""

    number: int = -1
    seed: int = 0
    total: float = 0.0
    actions: list[Array] = field(default_factory=list)


class VectorEnvironments:
    """n environments stepped together. A finished one is reset at once, with the seed of its next episode.

    Args:
        factory: makes environment i for stream i.
        count: n.
        workers: `none` steps them in this process, `processes` gives each a process of its own.
        timeout: seconds that a worker may take for one reset or step.
        seed: of the run; the k-th episode of stream i is reset with `episode_seed(seed, i, k)`.
        on_step: told the agent steps and frames of every vector step, for budgets.

    Raises:
        EnvironmentFault: from every method, when an environment gives or does what it may not.
    """

    def __init__(
        self,
        factory: EnvironmentFactory,
        count: int = 1,
        workers: Literal["none", "processes"] = "none",
        timeout: float = 60.0,
        seed: int = 0,
        on_step: OnStep | None = None,
    ) -> None:
        self.observation = factory.observation
        self.action: ActionSpec = factory.action
        self.count = count
        self.seed = seed
        self.on_step = on_step
        makers = [_Maker(factory, index) for index in range(count)]
        self._vector: WorkerVector | SyncVectorEnv[Any, Any] = (
            WorkerVector(makers, timeout)
            if workers == "processes"
            else SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        )
        self._open = [OpenEpisode() for _ in range(count)]
        self._repeat = factory.action_repeat
        self._obs: dict[str, Array] = {}
        self._closed = False

    @property
    def begun(self) -> bool:
        """Whether every environment has an open episode."""
        return bool(self._obs)

    @property
    def obs(self) -> dict[str, Array]:
        """The observations that wait for an action, each (n, *shape). Not to be changed."""
        return self._obs

    def begin(self) -> Rows:
        """Reset every environment into its next episode: n first rows."""
        return self._reset(np.ones(self.count, bool))

    def step(self, actions: Array) -> StepRows:
        """Take one agent step everywhere.

        Args:
            actions: (n, A) as components see them: in [-1, 1] or one-hot.

        Raises:
            NumericalFault: for an action that is not finite.
        """
        actions = self._checked(actions)
        sent = actions.argmax(axis=1) if self.action.is_discrete else actions  # (n,) or (n, A)
        obs, reward, terminated, truncated, infos = self._vector.step(sent)
        taken = infos.get("frames")
        frames = int(taken.sum()) if taken is not None else self.count * self._repeat
        self._obs = {key: np.array(obs[key]) for key in self.observation}
        rows = step_rows(self._obs, actions, reward, terminated, truncated)
        for index, episode in enumerate(self._open):
            episode.total += float(reward[index])
            episode.actions.append(actions[index])
        if self.on_step is not None:
            self.on_step(self.count, frames)
        over = rows.is_last
        if not over.any():
            return StepRows(rows, rows[:0], over, frames, [])
        finished = [self._result(index, bool(terminated[index])) for index in np.flatnonzero(over).tolist()]
        return StepRows(rows, self._reset(over), over, frames, finished)

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors from which `restore` brings back the open episodes."""
        if not self.begun:
            return {"episodes": [], "obs": {}}
        inner = self._vector.call("save_state")
        return {
            "episodes": [self._saved(episode, state) for episode, state in zip(self._open, inner, strict=True)],
            "obs": {key: torch.from_numpy(value.copy()) for key, value in self._obs.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> list[int]:
        """Bring back the open episodes of `state` and verify the last observations.

        Returns:
            The environments whose episode could not be brought back. They stand at the first observation of their next
            episode; what came before counts as truncated.
        """
        if not state["episodes"]:
            return []
        saved = state["episodes"]
        self._open = [_loaded(one, self.action.size) for one in saved]
        seeds: list[int | None] = [episode.seed for episode in self._open]
        self._vector.reset(seed=seeds)
        self._obs = {key: state["obs"][key].numpy().copy() for key in self.observation}
        orders = [
            {
                "episode": episode.number,
                "seed": episode.seed,
                "actions": self._executable(episode.actions),
                "obs": {key: value[index] for key, value in self._obs.items()},
                "inner": one["inner"],
            }
            for index, (episode, one) in enumerate(zip(self._open, saved, strict=True))
        ]
        lost = np.array([not back for back in self._vector.call("restore_state", orders)])
        if lost.any():
            self._reset(lost)
        return [int(index) for index in np.flatnonzero(lost)]

    def first_rows(self, which: Sequence[int]) -> Rows:
        """First rows of environments that stand at the start of an episode: those that `restore` gave up on."""
        return reset_rows({key: value[list(which)] for key, value in self._obs.items()}, self.action.size)

    def close(self) -> None:
        """End all environments, and all workers within five seconds, whatever they are doing. May be called twice."""
        if not self._closed:
            self._closed = True
            self._vector.close()

    def _reset(self, mask: Array) -> Rows:
        """First rows of the environments in `mask`, each in its next episode."""
        for index in np.flatnonzero(mask):
            number = self._open[index].number + 1
            self._open[index] = OpenEpisode(number, episode_seed(self.seed, int(index), number))
        seeds: list[int | None] = [episode.seed for episode in self._open]
        options = None if mask.all() else {"reset_mask": mask.copy()}
        obs, _ = self._vector.reset(seed=seeds, options=options)
        if not self._obs:
            self._obs = {key: np.array(obs[key]) for key in self.observation}
        else:  # rows already handed out keep their observations
            self._obs = {key: _merged(value, obs[key], mask) for key, value in self._obs.items()}
        return reset_rows({key: value[mask] for key, value in self._obs.items()}, self.action.size)

    def _checked(self, actions: Array) -> Array:
        actions = np.array(actions, np.float32)
        if actions.shape != (self.count, self.action.size):
            raise EnvironmentFault(f"actions of shape {actions.shape} for {self.count} environments of {self.action}")
        if not (np.abs(actions) <= 1 + 1e-6).all():
            index = int(np.argwhere(~(np.abs(actions) <= 1 + 1e-6))[0, 0])
            raise NumericalFault(f"the policy gave environment {index} the action {actions[index]}, not in [-1, 1]")
        return actions

    def _result(self, index: int, terminated: bool) -> EpisodeResult:
        episode = self._open[index]
        return EpisodeResult(episode.total, len(episode.actions), episode.seed, terminated)

    def _executable(self, actions: list[Array]) -> list[Any]:
        return [int(action.argmax()) for action in actions] if self.action.is_discrete else list(actions)

    def _saved(self, episode: OpenEpisode, inner: Any) -> dict[str, Any]:
        actions = np.stack(episode.actions) if episode.actions else np.zeros((0, self.action.size), np.float32)
        return {
            "number": episode.number,
            "seed": episode.seed,
            "total": episode.total,
            "actions": torch.from_numpy(actions),  # (steps, A)
            "inner": inner,
        }


class _Maker:
    """Makes one checked environment; picklable where its factory is."""

    def __init__(self, factory: EnvironmentFactory, index: int) -> None:
        self.factory = factory
        self.index = index

    def __call__(self) -> CheckedEnv:
        made = self.factory.make(self.index)
        return CheckedEnv(made, self.factory.observation, self.factory.action, index=self.index)


def _merged(old: Array, new: Array, mask: Array) -> Array:
    merged = old.copy()
    merged[mask] = new[mask]
    return merged


def _loaded(saved: Mapping[str, Any], size: int) -> OpenEpisode:
    actions = saved["actions"].numpy().reshape(-1, size)
    return OpenEpisode(int(saved["number"]), int(saved["seed"]), float(saved["total"]), list(actions.copy()))
