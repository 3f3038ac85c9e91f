"""Environments side by side: checked on every step, seeded per episode, and restorable after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.learner import EpisodeResult
from reverie.contracts.specs import ActionSpec
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.training.checked import CheckedEnv
from reverie.training.faults import Tolerance
from reverie.training.rows import Rows, reset_rows, step_rows
from reverie.training.workers import Host, InProcess, InWorker, close_all

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
        rows: one row of each environment that took its step.
        stepped: (n,) bool, which environments `rows` belongs to, in order: all but those whose fault was put up with.
        resets: first rows of the episodes that follow those that ended or were cut.
        reset: (n,) bool, which environments `resets` belongs to, in order.
        frames: environment steps, over all environments.
        finished: results of the episodes that ended, in the order of their environments.
    """

    rows: Rows
    stepped: Array
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

    An environment whose fault is put up with takes no step: its open episode is cut, and it stands at the first
    observation of the next one.

    Args:
        factory: makes environment i for stream i.
        count: n.
        workers: `none` steps them in this process, `processes` gives each a process of its own.
        timeout: seconds that a worker may take for one reset or step, or to build its environment.
        seed: of the run; the k-th episode of stream i is reset with `episode_seed(seed, i, k)`.
        on_step: told the agent steps and frames of every vector step, for budgets.
        tolerance: what faults are put up with; none by default.

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
        tolerance: Tolerance | None = None,
    ) -> None:
        self.observation = factory.observation
        self.action: ActionSpec = factory.action
        self.count = count
        self.seed = seed
        self.on_step = on_step
        self.tolerance = tolerance or Tolerance()
        self._factory, self._workers, self._timeout = factory, workers, timeout
        self._hosts: list[Host] = []
        try:
            for index in range(count):
                self._hosts.append(self._host(index))
            for host in self._hosts:
                host.answer()
        except BaseException:
            close_all(self._hosts)
            raise
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
        answers = self._ask("step", {index: (action,) for index, action in enumerate(self._executable(actions))})
        stepped = np.array([not isinstance(answer, EnvironmentFault) for answer in answers])
        for index in np.flatnonzero(~stepped).tolist():
            self._overcome(index, answers[index])
        rows, frames = self._stepped(actions, answers, stepped)
        if self.on_step is not None:
            self.on_step(len(rows), frames)
        over = ~stepped
        over[stepped] = rows.is_last
        if not over.any():
            return StepRows(rows, stepped, rows[:0], over, frames, [])
        ends = zip(np.flatnonzero(stepped).tolist(), rows.is_last, rows.is_terminal, strict=True)
        finished = [self._result(index, bool(truly)) for index, last, truly in ends if last]
        return StepRows(rows, stepped, self._reset(over), over, frames, finished)

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors from which `restore` brings back the open episodes."""
        if not self.begun:
            return {"episodes": [], "obs": {}}
        offered = self._ask("save_state", dict.fromkeys(range(self.count), ()))
        # Of a worker that died nothing is lost yet: its next step finds out.
        inner = [None if isinstance(state, EnvironmentFault) else state for state in offered]
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
        self._obs = {key: state["obs"][key].numpy().copy() for key in self.observation}
        orders = {
            index: {
                "episode": episode.number,
                "seed": episode.seed,
                "actions": self._executable(episode.actions),
                "obs": {key: value[index] for key, value in self._obs.items()},
                "inner": one["inner"],
            }
            for index, (episode, one) in enumerate(zip(self._open, saved, strict=True))
        }
        answers = self._ask("restore_state", {index: (order,) for index, order in orders.items()})
        for index, answer in enumerate(answers):
            if isinstance(answer, EnvironmentFault):
                self._overcome(index, answer)
        lost = np.array([answer is not True for answer in answers])
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
            close_all(self._hosts)

    def _host(self, index: int) -> Host:
        maker = _Maker(self._factory, index)
        return InWorker(maker, index, self._timeout) if self._workers == "processes" else InProcess(maker, index)

    def _ask(self, name: str, arguments: Mapping[int, tuple[Any, ...]]) -> list[Any]:
        """Call a method of several environments side by side; an answer is a value or an `EnvironmentFault`."""
        for index, given in arguments.items():
            self._hosts[index].ask(name, *given)
        answers: list[Any] = []
        for index in arguments:
            try:
                answers.append(self._hosts[index].answer())
            except EnvironmentFault as fault:
                answers.append(fault)
        return answers

    def _overcome(self, index: int, fault: EnvironmentFault) -> None:
        """Make environment `index` fit for its next episode, if its fault is put up with; else raise it."""
        rebuild = self.tolerance.environment(fault)
        while rebuild:
            self._hosts[index].kill()
            try:
                self._hosts[index] = self._host(index)
                self._hosts[index].answer()
                rebuild = False
            except EnvironmentFault as again:
                rebuild = self.tolerance.environment(again)

    def _reset(self, mask: Array) -> Rows:
        """First rows of the environments in `mask`, each in its next episode."""
        obs = self._empty_obs()
        waiting = np.flatnonzero(mask).tolist()
        while waiting:
            for index in waiting:
                number = self._open[index].number + 1
                self._open[index] = OpenEpisode(number, episode_seed(self.seed, index, number))
            begun = {index: (self._open[index].seed, self._open[index].number) for index in waiting}
            answers = dict(zip(waiting, self._ask("begin", begun), strict=True))
            waiting = [index for index, answer in answers.items() if isinstance(answer, EnvironmentFault)]
            for index, answer in answers.items():
                if isinstance(answer, EnvironmentFault):
                    self._overcome(index, answer)
                else:
                    _put(obs, index, answer)
        self._obs = obs
        return reset_rows({key: value[mask] for key, value in self._obs.items()}, self.action.size)

    def _stepped(self, actions: Array, answers: Sequence[Any], stepped: Array) -> tuple[Rows, int]:
        """The rows of the steps that were taken, and their frames."""
        obs, which = self._empty_obs(), np.flatnonzero(stepped).tolist()
        rewards, ends, cuts, frames = [], [], [], 0
        for index in which:
            shown, reward, terminated, truncated, info = answers[index]
            _put(obs, index, shown)
            rewards.append(reward)
            ends.append(terminated)
            cuts.append(truncated)
            frames += info.get("frames", self._repeat)
            self._open[index].total += reward
            self._open[index].actions.append(actions[index])
        self._obs = obs
        rows = step_rows(
            obs if stepped.all() else {key: value[stepped] for key, value in obs.items()},
            actions[stepped],
            np.array(rewards, np.float64),
            np.array(ends, bool),
            np.array(cuts, bool),
        )
        return rows, frames

    def _empty_obs(self) -> dict[str, Array]:
        """New arrays, each (n, *shape), with what is shown now: rows already handed out keep their observations."""
        if self._obs:
            return {key: value.copy() for key, value in self._obs.items()}
        return {
            key: np.zeros((self.count, *spec.shape), np.dtype(spec.dtype)) for key, spec in self.observation.items()
        }

    def _checked(self, actions: Array) -> Array:
        actions = np.array(actions, np.float32)
        if actions.shape != (self.count, self.action.size):
            raise EnvironmentFault(f"actions of shape {actions.shape} for {self.count} environments of {self.action}")
        if not (np.abs(actions) <= 1 + 1e-6).all():
            index = int(np.argwhere(~(np.abs(actions) <= 1 + 1e-6))[0, 0])
            waited = {f"obs.{key}": value for key, value in self._obs.items()}
            place = f"actions-episode-{self._open[index].number}-step-{len(self._open[index].actions)}"
            raise NumericalFault(
                f"the policy gave environment {index} the action {actions[index]}, not in [-1, 1]; "
                + self.tolerance.keep(place, {**waited, "action": actions})
            )
        return actions

    def _result(self, index: int, terminated: bool) -> EpisodeResult:
        episode = self._open[index]
        return EpisodeResult(episode.total, len(episode.actions), episode.seed, terminated)

    def _executable(self, actions: Sequence[Array] | Array) -> list[Any]:
        """What environments are given for actions as components see them, each (A,): copies, or numbers."""
        discrete = self.action.is_discrete
        return [action.argmax() if discrete else action.copy() for action in actions]

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


def _put(obs: dict[str, Array], index: int, shown: Mapping[str, Array]) -> None:
    for key, value in obs.items():
        value[index] = shown[key]


def _loaded(saved: Mapping[str, Any], size: int) -> OpenEpisode:
    actions = saved["actions"].numpy().reshape(-1, size)
    return OpenEpisode(int(saved["number"]), int(saved["seed"]), float(saved["total"]), list(actions.copy()))
