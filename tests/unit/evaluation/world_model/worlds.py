"""A linear world that is known exactly, and four models of it: one that is right, and three with one fault each.

x' = A x + B a, played with a = tanh(K x); the reward on arrival is c . x'; an episode truly ends where x_0 > EDGE.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Head, ObservationSpec, Sampling, Transition
from reverie.evaluation.recording import Recording
from reverie.nn import Normal
from reverie.testing.toy_imagination import ToyLatent
from reverie.testing.toys import LinearDynamics, ToyActor, ToyAgent, ToyDecoder, ToyEncoder, ToyHead, toy_observation

A = np.array([[1.0, 0.3], [-0.3, 0.95]])
B = np.array([[0.1], [0.6]])
K = np.array([[1.0, -0.2]])
C = np.array([1.0, 0.5])
EDGE = 1.5

ACTION = ActionSpec("continuous", 1)
OBSERVATION: ObservationSpec = toy_observation(size=2)


def episode(seed: int, limit: int = 40, *, edge: float = EDGE) -> Recording:
    """Played in float64, kept in float32, like a real one."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=2)
    x[0] = min(x[0], edge)
    states, actions, rewards, terminal = [x], [np.zeros(1)], [0.0], [False]
    while len(states) <= limit and not terminal[-1]:
        action = np.tanh(K @ x)
        x = A @ x + B @ action
        states.append(x)
        actions.append(action)
        rewards.append(float(C @ x))
        terminal.append(bool(x[0] > edge))
    return Recording(
        obs={"state": np.array(states, np.float32)},
        action=np.array(actions, np.float32),
        reward=np.array(rewards, np.float32),
        is_terminal=np.array(terminal),
        seed=seed,
    )


def episodes(limit: int = 40, *, edge: float = EDGE) -> list[Recording]:
    return [episode(seed, limit, edge=edge) for seed in range(6)]


@dataclass(frozen=True)
class Drawn(ToyLatent):
    """A latent that says what it was drawn from: a normal of deviation 0.1."""

    @property
    def distribution(self) -> Normal:
        return Normal(self.mean, torch.full_like(self.mean, 0.1), 1)


class DrawnDynamics(LinearDynamics):
    """The posterior's mean is the observation, the prior's is the model's."""

    def initial(self, batch_size: int) -> Drawn:
        zeros = torch.zeros(batch_size, self.size)
        return Drawn(zeros, zeros)

    def _draw(self, mean: Tensor, sampling: Sampling) -> Drawn:
        drawn = super()._draw(mean, sampling)
        return Drawn(drawn.x, drawn.mean)


class Edge(Head):
    """The probability to go on: `inside` before the edge, `outside` beyond it."""

    def __init__(self, inside: float = 1.0, outside: float = 0.0) -> None:
        super().__init__(None, 2, ACTION)
        self.inside, self.outside = inside, outside

    def forward(self, transition: Transition) -> Any:
        assert transition.after is not None
        over = transition.after.features[..., 0] > EDGE
        return SimpleNamespace(mean=torch.where(over, self.outside, self.inside))


def fill(linear: torch.nn.Linear, weight: Any, bias: Any = 0.0) -> None:
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(np.asarray(weight, np.float32)))
        linear.bias.copy_(torch.as_tensor(bias, dtype=torch.float32).expand_as(linear.bias))


def model(
    *,
    transition: Any = A,
    control: Any = B,
    reward_bias: float = 0.0,
    value: Any = (0.0, 0.0),
    value_bias: float = 0.0,
    inside: float = 1.0,
    outside: float = 0.0,
) -> ToyAgent:
    """Every part is linear and set by hand; by default all of it is true."""
    eye = np.eye(2)
    encoder = ToyEncoder(None, OBSERVATION, embed_size=2)
    fill(encoder.linear, eye)
    dynamics = DrawnDynamics(SimpleNamespace(size=2), 2, ACTION)
    fill(dynamics.transition, np.concatenate([transition, control], 1))
    fill(dynamics.correction, np.concatenate([eye, -eye], 1))  # mean + (embed - mean): the observation itself
    decoder = ToyDecoder(None, 2, OBSERVATION)
    fill(decoder.layers["state"], eye)
    reward, critic = ToyHead(None, 2, ACTION), ToyHead(None, 2, ACTION)
    fill(reward.linear, [C], reward_bias)
    fill(critic.linear, [value], value_bias)
    actor = ToyActor(None, 2, ACTION)
    fill(actor.linear, K)
    heads = {"reward": reward, "continue": Edge(inside, outside), "value": critic}
    return ToyAgent(OBSERVATION, ACTION, encoder=encoder, dynamics=dynamics, decoder=decoder, heads=heads, actor=actor)


def oracle() -> ToyAgent:
    return model()


def copy_last() -> ToyAgent:
    return model(transition=np.eye(2), control=np.zeros((2, 1)))


def action_blind() -> ToyAgent:
    return model(control=np.zeros((2, 1)))


def inflating(by: float = 0.7) -> ToyAgent:
    return model(reward_bias=by)
