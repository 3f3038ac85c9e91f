"""A world that is known exactly, whose model is right, and a tiny run of each kind."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))  # the modules above this folder, whatever pytest's import mode
sys.path.insert(0, str(Path(__file__).parent))

from toy_world import ACTION, OBSERVATION, A, B, C, Edge, WorldFactory

from reverie.assembly.agent import Agent
from reverie.contracts import Sampling
from reverie.evaluation.reopen import Opened
from reverie.nn import Normal
from reverie.testing.toy_imagination import ToyLatent
from reverie.testing.toys import LinearDynamics, ToyActor, ToyDecoder, ToyEncoder, ToyHead
from tiny_runs import TINY


class OpenedWorld(Opened):
    """The model of the known world, as if it had been opened from a run."""


class NoisyDynamics(LinearDynamics):
    """Draws from the normals of `reverie.nn`, as plugins do."""

    def _draw(self, mean: Tensor, sampling: Sampling) -> ToyLatent:
        if not self.noise:
            return ToyLatent(mean, mean)
        return ToyLatent(sampling.draw(Normal(mean, torch.full_like(mean, self.noise), 1)), mean)


def fill(linear: torch.nn.Linear, weight: Any, bias: float = 0.0) -> None:
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(np.asarray(weight, np.float32)))
        linear.bias.fill_(bias)


@pytest.fixture
def world() -> Any:
    """Makes an `Opened` whose dynamics have this much noise and whose continue head says this."""

    def make(noise: float = 0.0, inside: float = 1.0, outside: float = 0.0, folded: float | None = None) -> Opened:
        encoder = ToyEncoder(None, OBSERVATION, embed_size=2)
        fill(encoder.linear, np.eye(2))
        dynamics = NoisyDynamics(SimpleNamespace(size=2), 2, ACTION)
        dynamics.noise = noise
        fill(dynamics.transition, np.concatenate([A, B], 1))
        fill(dynamics.correction, np.concatenate([np.eye(2), -np.eye(2)], 1))  # the posterior is the observation
        decoder, reward = ToyDecoder(None, 2, OBSERVATION), ToyHead(None, 2, ACTION)
        fill(decoder.layers["state"], np.eye(2))
        fill(reward.linear, [C])
        actor = ToyActor(None, 2, ACTION)
        agent = Agent(
            OBSERVATION,
            ACTION,
            encoder=encoder,
            dynamics=dynamics,
            decoder=decoder,
            heads={"reward": reward, "continue": Edge(inside, outside)},
            actor=actor,
            planner=actor,
            vectors="none",
        )
        learners = (
            {} if folded is None else {"model": SimpleNamespace(config=SimpleNamespace(continue_discount=folded))}
        )
        recipe: Any = SimpleNamespace(group=lambda name: learners if name == "learners" else {})
        checkpoint: Any = None
        return OpenedWorld(Path("world"), recipe, agent.eval(), WorldFactory(None), checkpoint)

    return make


def trained(recipe: str, folder: Path, *overrides: str) -> Path:
    from reverie.api import train

    assert train(recipe, [*overrides], run_dir=folder).status == "completed"
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CartPole: a vector, discrete actions, a state that can be drawn."""
    return trained("dreamer", tmp_path_factory.mktemp("runs") / "vector", *TINY)


@pytest.fixture(scope="session")
def blind_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pendulum without a decoder: continuous actions."""
    tiny = [line for line in TINY if not line.startswith(("decoder.", "env="))]
    return trained("dreamer_contrastive", tmp_path_factory.mktemp("runs") / "blind", "env=pendulum", *tiny)


@pytest.fixture(scope="session")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CartPole with two vectors and an image."""
    tiny = [line for line in TINY if not line.startswith("env=")]
    return trained("dreamer", tmp_path_factory.mktemp("runs") / "image", "env=cartpole_dict", *tiny)
