"""Correctness note 20: an evaluation plays as its mode says, and nothing of the agent's exploration is in it."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from reverie.assembly.agent import Agent
from reverie.contracts import ActionSpec, EnvironmentFactory
from reverie.evaluation.protocol import EvaluationResult, evaluate
from reverie.testing.toys import LinearDynamics, ToyActor, ToyEncoder, toy_observation

STEPS = 5


class Sum(gym.Env[Any, Any]):
    """The reward is the action's first number (continuous) or its index. Nothing depends on the seed."""

    def __init__(self, action: ActionSpec) -> None:
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Box(-9, 9, (5,), np.float32)})
        low = np.full(action.size, -1, np.float32)
        self.action_space = gym.spaces.Discrete(action.size) if action.is_discrete else gym.spaces.Box(low, -low)
        self.step_number = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.step_number = 0
        return {"state": np.zeros(5, np.float32)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        seen = np.full(5, self.step_number, np.float32)
        return {"state": seen}, float(np.ravel(action)[0]), False, self.step_number == STEPS, {}


class Sums(EnvironmentFactory):
    def __init__(self, action: ActionSpec) -> None:
        super().__init__(None)
        self.action, self.observation = action, toy_observation()

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        return Sum(self.action)


def agent_for(action: ActionSpec, **options: Any) -> Agent:
    torch.manual_seed(0)
    observation = toy_observation()
    encoder = ToyEncoder(None, observation)
    dynamics = LinearDynamics(None, encoder.embed_size, action)
    actor = ToyActor(None, dynamics.feature_size, action)
    return Agent(observation, action, encoder=encoder, dynamics=dynamics, actor=actor, planner=actor, **options)


def judged(kind: str, mode: Any, **options: Any) -> EvaluationResult:
    action = ActionSpec(kind, 3)  # type: ignore[arg-type]
    agent = agent_for(action, **options)
    return evaluate(agent, Sums(action), episodes=8, seed=3, mode=mode)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_mode_decides_what_is_played(kind: str) -> None:
    """The environment is the same for every seed: greedy episodes are equal (but for the last bits, which a row's place
    in a batch decides), drawn ones are not."""
    greedy, drawn = judged(kind, "mode"), judged(kind, "sample")
    assert (greedy.mode, drawn.mode) == ("mode", "sample")
    assert (greedy.as_json()["mode"], drawn.as_json()["mode"]) == ("mode", "sample")
    assert greedy.returns == pytest.approx([greedy.returns[0]] * len(greedy.returns), abs=1e-6)
    assert len(set(drawn.returns)) > 3
    assert judged(kind, "sample") == drawn  # and drawn ones repeat with their seed


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_greedy_actions_are_the_modes_along_the_filtered_states(kind: str) -> None:
    """The return of a greedy episode, worked out step by step from the parts of the agent."""
    action = ActionSpec(kind, 3)  # type: ignore[arg-type]
    agent = agent_for(action, vectors="none")
    x, last, total = torch.zeros(1, 4), torch.zeros(1, 3), 0.0
    dynamics = agent.dynamics
    with torch.no_grad():
        for step in range(STEPS):
            embed = agent.encoder.linear(torch.full((1, 5), float(step)))
            prior = dynamics.transition(torch.cat([x, last], -1))
            x = prior + dynamics.correction(torch.cat([embed, prior], -1))
            outputs = agent.actor.linear(x)
            index = int(outputs.argmax())
            last = torch.eye(3)[[index]] if action.is_discrete else torch.tanh(outputs)
            total += float(index) if action.is_discrete else float(last[0, 0])
    result = evaluate(agent, Sums(action), episodes=2, seed=0, mode="mode")
    assert result.returns == pytest.approx([total] * 2, abs=1e-5)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_exploration_stays_out_of_evaluations(kind: str) -> None:
    assert judged(kind, "mode", noise=0.5, epsilon=0.5) == judged(kind, "mode")
    assert judged(kind, "sample", noise=0.5, epsilon=0.5) == judged(kind, "sample")
