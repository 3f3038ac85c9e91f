"""Return in the dream beside return in reality, at several temperatures, for the controller of a finished run.

    python benchmarks/dream_gap.py RUN --temperatures 0.5 1 1.5 --episodes 20

Every dream starts from the first observation of a real episode (seeds 2,000,000 and up, which no run has seen) and goes
on for the environment's time limit. Its return is the sum of expected rewards, each weighted by the predicted chance of
having come so far. Real episodes start from the same seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reverie.contracts import Sampling
from reverie.evaluation.episodes import play
from reverie.evaluation.policies import RandomPolicy
from reverie.evaluation.reopen import reopen

FIRST_SEED = 2_000_000
SEGMENT = 25


def first_states(opened: Any, seeds: list[int]) -> Any:
    """(n,) latent states behind the first observation of each episode."""
    agent, observations = opened.agent, []
    for index, seed in enumerate(seeds):
        environment = opened.factory.make(index)
        observations.append(environment.reset(seed=seed)[0])
        environment.close()
    obs = {key: np.stack([one[key] for one in observations]) for key in observations[0]}
    _, state = agent.act(obs, agent.initial(len(seeds), seeds), np.ones(len(seeds), dtype=bool))
    return state.latent


@torch.no_grad()
def dreamed(agent: Any, start: Any, horizon: int, temperature: float, seed: int = 0) -> np.ndarray:
    """(n,) returns of the greedy actor."""
    sampling = Sampling(temperature=temperature, generators=[torch.Generator().manual_seed(seed)])

    def act(latent: Any, _: Sampling) -> torch.Tensor:
        mode: torch.Tensor = agent.actor.policy(latent).mode
        return mode

    state, total, weight = start, torch.zeros(start.batch_shape), torch.ones(start.batch_shape)
    for _ in range(0, horizon, SEGMENT):
        trajectory = agent.imagination.rollout(state, act, SEGMENT, sampling)
        passed = torch.cumprod(agent.imagination.continues(trajectory), 1)  # (n, SEGMENT)
        reached = torch.cat((torch.ones_like(passed[:, :1]), passed[:, :-1]), 1)
        total = total + weight * (reached * agent.imagination.rewards(trajectory)).sum(1)
        weight, state = weight * passed[:, -1], trajectory.states[:, -1]
    return total.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 1.0, 1.5])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--horizon", type=int, default=500, help="steps of a dream")
    options = parser.parse_args()
    torch.set_num_threads(1)
    opened = reopen(options.run)
    seeds = [FIRST_SEED + index for index in range(options.episodes)]
    start = first_states(opened, seeds)
    real = [one.episode_return for one in play(opened.policy, opened.factory, seeds).episodes]
    chance = [one.episode_return for one in play(RandomPolicy(opened.factory.action), opened.factory, seeds).episodes]
    line: dict[str, Any] = {"run": str(options.run), "real": _told(real), "random": _told(chance), "dream": {}}
    for temperature in options.temperatures:
        line["dream"][str(temperature)] = _told(dreamed(opened.agent, start, options.horizon, temperature))
    print(json.dumps(line))


def _told(returns: Any) -> list[float]:
    """Mean, standard deviation."""
    return [round(float(np.mean(returns)), 1), round(float(np.std(returns)), 1)]


if __name__ == "__main__":
    main()
