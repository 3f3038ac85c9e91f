"""The shooting planners: a float64 reference on recorded noise, and problems with known optima (notes 21, 22)."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.contracts import Sampling, SearchPlanner
from reverie.testing.toys import PointMass, point_latent, toy_action
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.config import CEMConfig, RandomShootingConfig
from reverie_plugins.shooting.random_shooting import RandomShooting


class Recorder(Sampling):
    """A `Sampling` that keeps every block of noise it gave away."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__(generators=[torch.Generator().manual_seed(seed) for seed in seeds])
        object.__setattr__(self, "given", [])

    def _noise(self, function: Any, shape: Any, device: Any, dtype: Any) -> Tensor:
        noise = super()._noise(function, shape, device, dtype)
        self.given.append(noise.double().numpy())  # type: ignore[attr-defined]
        return noise


def reward_to_go(starts: np.ndarray, moves: np.ndarray, target: float) -> np.ndarray:
    """(B, D) starts and (B, N, H, D) moves -> (B, N): -sum |x_t - target|^2, by loops."""
    B, N, H, _ = moves.shape
    scores = np.zeros((B, N))
    for b in range(B):
        for n in range(N):
            x = starts[b].copy()
            for h in range(H):
                x = x + PointMass.step * moves[b, n, h]
                scores[b, n] -= ((x - target) ** 2).sum()
    return scores


def reference_cem(starts: np.ndarray, noise: list[np.ndarray], config: CEMConfig, target: float) -> np.ndarray:
    """PlaNet's algorithm 2 with population standard deviations, one environment at a time, in float64."""
    B, _, H, A = noise[0].shape
    answers = np.zeros((B, A))
    for b in range(B):
        mean, std = np.zeros((H, A)), np.ones((H, A)) * config.std
        for block in noise:
            plans = np.clip(mean + std * block[b], -1, 1)
            scores = reward_to_go(starts[b : b + 1], plans[None], target)[0]
            elites = plans[np.argsort(-scores)[: config.elites]]
            fitted = elites.mean(0), np.maximum(np.sqrt(((elites - elites.mean(0)) ** 2).mean(0)), config.min_std)
            mean = config.momentum * mean + (1 - config.momentum) * fitted[0]
            std = config.momentum * std + (1 - config.momentum) * fitted[1]
        answers[b] = np.clip(mean[0], -1, 1)
    return answers


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_cem_agrees_with_a_float64_reference_on_the_same_noise(momentum: float):
    world = PointMass(toy_action(size=2), target=0.4)
    config = CEMConfig(horizon=3, candidates=20, iterations=3, elites=4, momentum=momentum)
    latent, sampling = world.starts(3), Recorder([1, 2, 3])
    found, memory = CEM(config, world.action, None).plan(latent, {}, world, explore=False, sampling=sampling)
    wanted = reference_cem(latent.x.double().numpy(), sampling.given, config, 0.4)  # type: ignore[attr-defined]
    assert memory == {}
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_categorical_cem_agrees_with_a_float64_reference_on_the_same_noise():
    world = PointMass(toy_action("discrete", 5), target=0.0)
    config = CEMConfig(horizon=2, candidates=30, iterations=3, elites=5, min_prob=0.1)
    latent, sampling = point_latent(torch.tensor([[0.9], [-0.6]])), Recorder([4, 5])
    found, _ = CEM(config, world.action, None).plan(latent, {}, world, explore=False, sampling=sampling)
    for b, start in enumerate(latent.x.double().numpy()):
        probs = np.full((2, 5), 0.2)
        for block in sampling.given:  # type: ignore[attr-defined]
            mixed = 0.9 * probs + 0.1 / 5
            index = (mixed.cumsum(-1)[None, :, :-1] <= block[b][:, :, None]).sum(-1)  # (N, H)
            scores = reward_to_go(start[None], (index - 2.0)[None, :, :, None], 0.0)[0]
            elites = index[np.argsort(-scores, kind="stable")[: config.elites]]
            # Ties between equal plans do not matter: equal plans have equal actions.
            probs = np.stack([[(elites[:, h] == action).mean() for action in range(5)] for h in range(2)])
        assert int(found[b].argmax()) == int(probs[0].argmax())
        assert sorted(found[b].tolist()) == [0.0, 0.0, 0.0, 0.0, 1.0]


def planners(kind: str) -> list[tuple[SearchPlanner, PointMass, float]]:
    world = PointMass(toy_action(kind, 5 if kind == "discrete" else 2), target=0.3)
    cem = CEMConfig(horizon=3, candidates=300, iterations=10, elites=40, min_std=0.0)
    shooting = RandomShootingConfig(horizon=2, candidates=4000)
    return [
        (CEM(cem, world.action, None), world, 0.05),
        (RandomShooting(shooting, world.action, None), world, 0.3),
    ]


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("which", [0, 1], ids=["cem", "random_shooting"])
@pytest.mark.parametrize("B", [1, 16])
def test_planners_find_the_first_move_of_the_exact_point_mass(kind: str, which: int, B: int):
    planner, world, slack = planners(kind)[which]
    latent = world.starts(B, seed=7)
    sampling = Sampling(generators=[torch.Generator().manual_seed(row) for row in range(B)])
    action, _ = planner.plan(latent, planner.initial(B), world, explore=False, sampling=sampling)
    assert action.shape == (B, world.action.size)
    assert float((action - world.best_action(latent)).abs().max()) <= slack


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("which", [0, 1], ids=["cem", "random_shooting"])
def test_a_batch_of_environments_plans_as_each_alone(kind: str, which: int):
    planner, world, _slack = planners(kind)[which]
    latent = world.starts(4, seed=1)

    def plan(rows: slice) -> Tensor:
        some = latent[rows]
        generators = [torch.Generator().manual_seed(row) for row in range(*rows.indices(4))]
        sampling = Sampling(generators=generators)
        carry = planner.initial(len(generators))
        action, _memory = planner.plan(some, carry, world, explore=False, sampling=sampling)
        return action

    together = plan(slice(0, 4))
    for row in range(4):
        assert torch.equal(plan(slice(row, row + 1)), together[row : row + 1])
    assert kind == "discrete" or not torch.equal(plan(slice(1, 4))[0], plan(slice(0, 1))[0])
