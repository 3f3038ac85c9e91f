"""Correctness note 4: an environment whose episodes end truly on the very step on which their time limit falls."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from reverie.contracts import ActionSpec, ArraySpec, EnvironmentFactory, ObservationSpec
from reverie.evaluation.protocol import ConstantPolicy, evaluate
from reverie.training.environments import VectorEnvironments
from reverie.training.rows import LoopConverter, Rows

LIMIT = 4


class Corridor(gym.Env[Any, Any]):
    """Counts its steps. Ends truly at `length`: before the limit, on it, or (were it not for the limit) after it."""

    def __init__(self, length: int) -> None:
        self.observation_space = gym.spaces.Dict({"step": gym.spaces.Box(0, 100, (1,), np.float32)})
        self.action_space = gym.spaces.Discrete(2)
        self.length, self.step_number = length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_number = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        return self._seen(), 1.0, self.step_number == self.length, False, {}

    def _seen(self) -> dict[str, Any]:
        return {"step": np.array([self.step_number], np.float32)}


class Corridors(EnvironmentFactory):
    """Environment i ends truly after LIMIT - 1 + i steps; all have the limit."""

    def __init__(self) -> None:
        super().__init__(None)
        self.action = ActionSpec("discrete", 2)
        self.observation = ObservationSpec({"step": ArraySpec((1,), "float32", 0, 100)})

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(Corridor(LIMIT - 1 + index), LIMIT)


def check(stream: Rows, index: int) -> None:
    """Environment 0 ends before its limit, 1 on it (both flags are up), 2 by it."""
    ends = np.flatnonzero(stream.is_last)
    assert len(ends) >= 3
    assert stream.obs["step"][ends, 0].tolist() == [float(min(LIMIT - 1 + index, LIMIT))] * len(ends)
    assert stream.is_terminal[ends].tolist() == [index < 2] * len(ends)
    assert not stream.is_terminal[~stream.is_last].any()


def test_a_true_end_on_the_last_permitted_step_is_a_true_end() -> None:
    environments = VectorEnvironments(Corridors(), 3)
    streams: list[list[Rows]] = [[] for _ in range(3)]
    for index in range(3):
        streams[index].append(
            environments.begin()[index : index + 1] if index == 0 else environments.first_rows([index])
        )
    for _ in range(4 * LIMIT):
        taken = environments.step(np.eye(2, dtype=np.float32)[[0, 1, 0]])
        for index in range(3):
            streams[index].append(taken.rows[index : index + 1])
        for position, index in enumerate(np.flatnonzero(taken.reset).tolist()):
            streams[index].append(taken.resets[position : position + 1])
    environments.close()
    for index, rows in enumerate(streams):
        check(Rows.cat(rows), index)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_loop_of_gymnasiums_own_says_the_same(mode: AutoresetMode) -> None:
    factory = Corridors()
    vector = SyncVectorEnv([lambda index=index: factory.make(index) for index in range(3)], autoreset_mode=mode)
    converter = LoopConverter(factory.action, mode)
    streams = [[rows] for rows in converter.reset(vector.reset(seed=0)[0])]
    for _ in range(5 * LIMIT):
        action = np.array([0, 1, 0])
        for stream, rows in zip(streams, converter.step(action, *vector.step(action)), strict=True):
            stream.append(rows)
    for index, rows in enumerate(streams):
        check(Rows.cat(rows), index)


def test_an_evaluation_tells_true_ends_from_limits() -> None:
    result = evaluate(ConstantPolicy(Corridors().action, choice=1), Corridors(), episodes=3, seed=0)
    assert [episode.terminated for episode in result.episodes] == [True, True, False]
    assert result.lengths == [LIMIT - 1, LIMIT, LIMIT]
