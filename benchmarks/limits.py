"""How much of a model's error is in its dynamics, and how much in not knowing the state? On cartpole_swingup, whose
state can be read off its observation: the true simulator, put into the state that the model decodes, foresees as far as
any model could that knows the state no better.

    python benchmarks/limits.py runs/swingup

Prints errors 1, 5 and 15 decisions ahead, in standard deviations of the policy's own episodes: of the model; of the
simulator from the state that the model decodes; of the simulator from the true state with noise of known size. The
last line is the model's from the same states along random actions, against what the simulator makes of them: actions
of the policy tell what it saw, so that a model may foresee their outcome without knowing what an action does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tell import tell_each
from torch import Tensor

from reverie.contracts.sampling import Sampling
from reverie.evaluation.episodes import evaluating
from reverie.evaluation.recording import Recording, record
from reverie.evaluation.reopen import reopen
from reverie.evaluation.world_model.held_out import held_out, spread_starts
from reverie.evaluation.world_model.rollouts import decoded, filtered, imagined_from

TASK = "dm_control/cartpole-swingup-v0"
EPISODES, FIRST_SEED = 4, 1_000_000
HORIZONS = (1, 5, 15)
CONTEXT, STARTS = 5, 60
NOISE = (0.003, 0.01, 0.02)
OTHERWISE = "the model, along random actions"
Array = npt.NDArray[np.float64]


class Simulator:
    """The task's own physics.

    Args:
        repeat: frames for which an action is held.
    """

    def __init__(self, repeat: int) -> None:
        from dm_control import suite

        environment = suite.load("cartpole", "swingup")
        environment.reset()
        self.physics, self.repeat = environment.physics, repeat

    def play(self, start: Array, actions: Array) -> Array:
        """From one observation (x, cos, sin, velocities) along actions (H, 1): the H observations that follow."""
        x, cos, sin, *speeds = start
        with self.physics.reset_context():
            self.physics.data.qpos[:] = x, np.arctan2(sin, cos)
            self.physics.data.qvel[:] = speeds
        return np.array([self._held(action) for action in actions])

    def _held(self, action: Array) -> Array:
        self.physics.set_control(action)
        for _ in range(self.repeat):
            self.physics.step()
        return np.concatenate([self.physics.bounded_position(), self.physics.velocity()])


def joined(entries: dict[str, Tensor]) -> Array:
    """(..., 5) of both entries of the observation."""
    return torch.cat([entries["position"], entries["velocity"]], -1).double().numpy()


def compared(agent: Any, recordings: Sequence[Recording], simulator: Simulator, starts: int) -> dict[str, list[float]]:
    """Who foresees -> root mean squared errors at `HORIZONS`, entries weighted alike as in the metric.

    Raises:
        ValueError: where no episode goes on for so long.
    """
    held, sampling = held_out(recordings), Sampling("mode")
    chosen = spread_starts(held, CONTEXT, starts)
    future = held.future(chosen, max(HORIZONS))
    with evaluating(agent), torch.no_grad():
        states = filtered(agent, held, sampling).states
        guess, begins = joined(decoded(agent, states))[chosen.episode, chosen.step], states[chosen.episode, chosen.step]
        model = joined(imagined_from(agent, begins, future.action, sampling).obs)
        other = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, future.action.shape)).to(future.action.dtype)
        blind = joined(imagined_from(agent, begins, other, sampling).obs)
    seen, real = joined(held.obs), joined(future.obs)
    true, spread = seen[chosen.episode, chosen.step], seen[held.valid.numpy()].std(0)
    whole, actions = future.valid.all(1).numpy(), future.action.double().numpy()
    if not whole.any():
        raise ValueError(f"no episode goes on for {CONTEXT + max(HORIZONS)} decisions")

    def errors(found: Array, real: Array = real) -> list[float]:
        squares = np.square((found - real) / spread)[whole].mean(0)  # (H, 5)
        return [float(np.sqrt((squares[h - 1, :3].mean() + squares[h - 1, 3:].mean()) / 2)) for h in HORIZONS]

    def simulated(begin: Array, actions: Array = actions) -> Array:
        return np.stack([simulator.play(one, plan) for one, plan in zip(begin, actions, strict=True)])

    noise = np.random.default_rng(0).normal(size=true.shape) * spread
    return {
        "the model": errors(model),
        "the simulator, from what the model decodes": errors(simulated(guess)),
        "the simulator, from the truth": errors(simulated(true)),
        **{
            f"the simulator, from the truth and noise of {size}": errors(simulated(true + size * noise))
            for size in NOISE
        },
        OTHERWISE: errors(blind, simulated(true, other.double().numpy())),
    }


def table(run: Path) -> str:
    """What is printed of one run.

    Raises:
        ReverieError: where there is no such run, or it cannot be opened or played.
        ValueError: where it is a run on another task, or its episodes are too short.
    """
    opened = reopen(run)
    env = vars(opened.recipe.choices["env"].config)
    if env.get("id") != TASK:
        raise ValueError(f"it was trained on {env.get('id')}, and the simulator here is that of {TASK}")
    recordings = record(opened.policy, opened.factory, range(FIRST_SEED, FIRST_SEED + EPISODES))
    simulator = Simulator(env["action_repeat"])
    rows = compared(opened.agent, recordings, simulator, STARTS).items()
    head = f"{run}: errors at {', '.join(map(str, HORIZONS))} decisions"
    return "\n".join([head, *(f"  {name:>52}: {', '.join(f'{error:.3f}' for error in found)}" for name, found in rows)])


def main() -> int:
    """The number of runs of which nothing could be told."""
    return tell_each(__doc__, table, "finished runs on env=dmc/cartpole_swingup")


if __name__ == "__main__":
    sys.exit(main())
