"""A small world whose every number can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reverie.contracts import ActionSpec, ArraySpec, EnvironmentFactory, ObservationSpec


class EchoEnv(gym.Env[Any, Any]):
    """o_t = (a_{t-1}, seed); reward k at step k; lasts 3 + seed % 4 steps; even seeds end truly, odd ones by limit."""

    def __init__(self, action: ActionSpec, log: list[Any], index: int) -> None:
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Box(-1e6, 1e6, (2,), np.float32)})
        low, high = np.full(action.size, -1.0, np.float32), np.full(action.size, 1.0, np.float32)
        self.action_space = gym.spaces.Discrete(action.size) if action.is_discrete else gym.spaces.Box(low, high)
        self.log, self.index, self.discrete = log, index, action.is_discrete
        self.poison: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        self.seed, self.step_number, self.over = seed, 0, False
        self.log.append(("reset", self.index, seed))
        np.random.rand()  # a library that touches the global generator
        return self._obs(-5.0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.over, "stepped after its end"
        self.step_number += 1
        self.log.append(("step", self.index, action))
        self.over = self.step_number == 3 + self.seed % 4
        seen = float(action) if self.discrete else float(action[0])
        if self.poison == self.step_number:
            seen = float("nan")
        truly = self.seed % 2 == 0
        return self._obs(seen), float(self.step_number), self.over and truly, self.over and not truly, {}

    def close(self) -> None:
        self.log.append(("close", self.index))

    def _obs(self, value: float) -> dict[str, Any]:
        return {"state": np.array([value, self.seed], np.float32)}


@dataclass
class EchoFactory(EnvironmentFactory):
    action: ActionSpec = field(default_factory=lambda: ActionSpec("discrete", 3))
    poison: int | None = None
    log: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.observation = ObservationSpec({"state": ArraySpec((2,), "float32", -1e6, 1e6)})

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        env = EchoEnv(self.action, self.log, index)
        env.poison = self.poison if index == 1 else None
        return env


class SeedPolicy:
    """Discrete: at its k-th call plays (seed + k) mod 3. Remembers what it was shown and told."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.seeds: list[int] = []

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> int:
        assert seeds is not None
        assert len(seeds) == n
        self.seeds = list(seeds)
        return 0

    def act(
        self, obs: Mapping[str, Any], state: int, is_first: Any, *, explore: bool = False, mode: str = "unset"
    ) -> tuple[Any, int]:
        self.calls.append({"obs": obs["state"].copy(), "first": is_first.copy(), "explore": explore, "mode": mode})
        return np.eye(3, dtype=np.float32)[[(seed + state) % 3 for seed in self.seeds]], state + 1


@pytest.fixture
def make_factory() -> type[EchoFactory]:
    return EchoFactory


@pytest.fixture
def factory() -> EchoFactory:
    return EchoFactory()


@pytest.fixture
def policy() -> SeedPolicy:
    return SeedPolicy()


TINY = [
    "env.time_limit=12",
    "dynamics.deter=8",
    "dynamics.hidden=8",
    "dynamics.groups=2",
    "dynamics.classes=3",
    "encoder.units=8",
    "encoder.layers=1",
    "heads.reward.units=8",
    "heads.continue.units=8",
    "heads.value.units=8",
    "actor.units=8",
    "actor.layers=1",
    "learners.behaviour.horizon=3",
    "learners.behaviour.starts=4",
    "replay.batch_size=2",
    "replay.length=6",
    "stages.0.until.env_steps=20",
    "stages.1.until.env_steps=20",
    "stages.1.ratio=6",
    "evaluation.every=25",
    "evaluation.episodes=2",
    "logging.every=10",
    "logging.tensorboard=false",
    "trainer.threads=1",
]
"""A Dreamer that trains for 40 steps in about a second. It has learned nothing; its numbers are still repeatable."""


def trained(recipe: str, folder: Path, *overrides: str) -> Path:
    from reverie.api import train

    result = train(recipe, [*TINY, *overrides], run_dir=folder)
    assert result.status == "completed"
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CartPole: vectors, discrete actions, a state that can be drawn."""
    folder = tmp_path_factory.mktemp("runs") / "vector"
    return trained("dreamer", folder, "env=cartpole", "decoder.units=8", "decoder.layers=1", "checkpoints.ticks=7")


@pytest.fixture(scope="session")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CartPole with a vector and an image."""
    folder = tmp_path_factory.mktemp("runs") / "image"
    return trained("dreamer", folder, "env=cartpole_dict", "decoder.units=8", "decoder.layers=1")


@pytest.fixture(scope="session")
def blind_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a decoder, continuous actions."""
    return trained("dreamer_contrastive", tmp_path_factory.mktemp("runs") / "blind", "env=pendulum")
