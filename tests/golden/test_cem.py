"""The shooting planners against float64 references, one environment at a time, on the same recorded noise (note 21)."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.contracts import Sampling, SearchPlanner
from reverie.testing.planner_checks import Guide
from reverie.testing.toys import PointMass, point_latent, toy_action
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.colour import colouring
from reverie_plugins.shooting.config import CEMConfig, ICEMConfig, MPPIConfig
from reverie_plugins.shooting.icem import ICEM
from reverie_plugins.shooting.mppi import MPPI
from reverie_plugins.shooting.plans import Elites, GaussianPlans, truncated_normal

Array = np.ndarray[Any, Any]
TARGET = 0.4


class Recorder(Sampling):
    """A `Sampling` that keeps every block of noise it gave away, and what kind it was."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__(generators=[torch.Generator().manual_seed(seed) for seed in seeds])
        object.__setattr__(self, "given", [])

    def _noise(self, function: Any, shape: Any, device: Any, dtype: Any) -> Tensor:
        noise = super()._noise(function, shape, device, dtype)
        self.given.append(noise.double().numpy())  # type: ignore[attr-defined]
        return noise

    def with_mode(self, mode: Any) -> Any:
        """What planners draw from their proposals is recorded too."""
        return self


def points(size: int = 2) -> PointMass:
    return PointMass(toy_action(size=size), TARGET, has_value=False)


def by_loops(start: Array, plans: Array, target: float = TARGET) -> Array:
    """(D,) and (N, H, D) moves -> (N,): -sum |x_t - target|^2."""
    scores = np.zeros(len(plans))
    for n, plan in enumerate(plans):
        x = start.copy()
        for move in plan:
            x = x + PointMass.step * move
            scores[n] -= ((x - target) ** 2).sum()
    return scores


def top(plans: Array, scores: Array, count: int) -> Array:
    order = np.argsort(-scores, kind="stable")[:count]
    chosen: Array = plans[order]
    return chosen


def planned(planner: SearchPlanner, world: PointMass, steps: int = 1, **options: Any) -> tuple[Array, list[Any]]:
    """The actions (steps, B, A) of a planner over several calls, and the noise of each call, for 3 environments."""
    carry, actions, noise = planner.initial(3), [], []
    for step in range(steps):
        sampling = Recorder([1 + 10 * step, 2 + 10 * step, 3 + 10 * step])
        latent = world.starts(3, seed=step)
        action, carry = planner.plan(latent, carry, world, explore=False, sampling=sampling, **options)
        actions.append(action.double().numpy())
        noise.append(sampling.given)  # type: ignore[attr-defined]
    return np.stack(actions), noise


def start_of(world: PointMass, step: int, row: int) -> Array:
    found: Array = world.starts(3, seed=step).x[row].double().numpy()
    return found


# -- CEM -------------------------------------------------------------------------------------------------------------


def reference_proposals(start: Array, row: int, count: int, horizon: int, blocks: list[Any]) -> Array:
    """(count, horizon, 2): what `Guide` would do, from blocks of noise that are taken off the list."""
    proposals, x = np.zeros((count, horizon, 2)), np.repeat(start[None], count, 0)
    for h in range(horizon if count else 0):
        best = np.clip((TARGET - x) / PointMass.step, -1, 1)
        draws = blocks.pop(0).reshape(3, count, 2)[row]
        proposals[:, h] = np.clip(best + 0.1 * draws, -1, 1)
        x = x + PointMass.step * proposals[:, h]
    return proposals


def reference_cem(world: PointMass, noise: list[Any], config: CEMConfig) -> Array:
    """PlaNet's algorithm 2, or PETS's optimiser: population deviations, momentum on mean and variance."""
    actions = np.zeros((len(noise), 3, 2))
    for b in range(3):
        last: Any = None
        for step, given in enumerate(noise):
            blocks = list(given)
            proposals = reference_proposals(start_of(world, step, b), b, config.proposals, config.horizon, blocks)
            mean = np.zeros((config.horizon, 2))
            if config.warm_start and last is not None:
                mean[:-1] = last[1:]
            variance = np.full_like(mean, config.std**2)
            for block in blocks:
                if config.noise == "truncated":
                    # The inverse of a normal's distribution function, cut at two deviations, by bisection.
                    edges = [0.5 * (1 + math.erf(x / math.sqrt(2))) for x in (-2, 2)]
                    z = np.vectorize(inverse_normal, otypes=[float])(edges[0] + block[b] * (edges[1] - edges[0]))
                    room = np.minimum((mean + 1) / 2, (1 - mean) / 2)
                    plans = mean + z * np.sqrt(np.minimum(room**2, variance))
                else:
                    plans = np.clip(mean + block[b] * np.sqrt(variance), -1, 1)
                plans = np.concatenate([proposals, plans])
                elites = top(plans, by_loops(start_of(world, step, b), plans), config.elites)
                keep = config.momentum
                mean = keep * mean + (1 - keep) * elites.mean(0)
                variance = keep * variance + (1 - keep) * ((elites - elites.mean(0)) ** 2).mean(0)
                variance = np.maximum(variance, config.min_std**2)
            last = mean
            actions[step, b] = np.clip(mean[0], -1, 1)
    return actions


def inverse_normal(probability: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


SMALL: dict[str, Any] = {"horizon": 3, "candidates": 20, "iterations": 3, "elites": 4}
PLANET = CEMConfig(**SMALL, min_std=0.0)
PETS = CEMConfig(**{**CEMConfig.presets["pets"], **SMALL, "momentum": 0.3})


@pytest.mark.parametrize("proposals", [0, 8, 20])
@pytest.mark.parametrize("config", [PLANET, PETS, PETS.model_copy(update={"std": 1.0}), CEMConfig(**SMALL)])
def test_cem_agrees_with_a_float64_reference_on_the_same_noise(config: CEMConfig, proposals: int):
    world = points()
    config = config.model_copy(update={"proposals": proposals})
    found, noise = planned(CEM(config, world.action, Guide(world)), world, 2)
    np.testing.assert_allclose(found, reference_cem(world, noise, config), atol=2e-5)


class MeanOnly(GaussianPlans):
    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        return super().refit(centre, spread, elites)[0], spread


class SampleDeviation(GaussianPlans):
    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        mean, std = super().refit(centre, spread, elites)
        return mean, std * math.sqrt(4 / 3)


class ExecutesTheBest(GaussianPlans):
    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        return elites.plans[:, 0], super().refit(centre, spread, elites)[1]


class DoesNotShift(GaussianPlans):
    def shifted(self, centre: Tensor) -> Tensor:
        return centre


class DeviationMomentum(GaussianPlans):
    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        mean, _ = super().refit(centre, spread, elites)
        std = elites.moments(elites.even)[1].sqrt()
        return mean, self.config.momentum * spread + (1 - self.config.momentum) * std


class Clips(GaussianPlans):
    def sample(self, centre: Tensor, spread: Tensor, count: int, sampling: Sampling) -> Tensor:
        """PETS's noise without narrowing the deviations."""
        noise = truncated_normal((len(centre), count, *centre.shape[1:]), sampling, centre)
        return (centre[:, None] + spread[:, None] * noise).clamp(-1, 1)


WIDE = PETS.model_copy(update={"std": 1.0})


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (PLANET, MeanOnly),
        (PLANET, SampleDeviation),
        (PLANET, ExecutesTheBest),
        (PETS, DoesNotShift),
        (PETS, DeviationMomentum),
        (WIDE, Clips),
        (PLANET, PLANET.model_copy(update={"warm_start": True})),
        (PETS, PETS.model_copy(update={"noise": "normal"})),
        (PETS, PETS.model_copy(update={"momentum": 0.0})),
    ],
)
def test_variants_that_are_not_the_papers_are_told_apart(config: CEMConfig, wrong: Any):
    """Each was seen in some code base, plans well enough to pass for right, and fails the test above."""
    world = points()
    planner = CEM(config if isinstance(wrong, type) else wrong, world.action, None)
    if isinstance(wrong, type):
        planner.plans = wrong(config, world.action)
    found, noise = planned(planner, world, 2)
    assert np.abs(found - reference_cem(world, noise, config)).max() > 1e-3


def test_planet_adds_no_noise_of_its_own():
    """Exploring is the policy's affair (note 21): collecting, the planner answers as it does in an evaluation."""
    world, planner = points(), CEM(PLANET, toy_action(), None)
    latent = world.starts(2)
    found = [
        planner.plan(latent, {}, world, explore=explore, sampling=Recorder([5, 6]))[0] for explore in (False, True)
    ]
    assert torch.equal(*found)


def test_categorical_cem_agrees_with_a_float64_reference_on_the_same_noise():
    world = PointMass(toy_action("discrete", 5), target=0.0, has_value=False)
    config = CEMConfig(horizon=2, candidates=30, iterations=3, elites=5, min_prob=0.1)
    latent, sampling = point_latent(torch.tensor([[0.9], [-0.6]])), Recorder([4, 5])
    found, _ = CEM(config, world.action, None).plan(latent, {}, world, explore=False, sampling=sampling)
    for b, start in enumerate(latent.x.double().numpy()):
        probs = np.full((2, 5), 0.2)
        for block in sampling.given:  # type: ignore[attr-defined]
            mixed = 0.9 * probs + 0.1 / 5
            index = (mixed.cumsum(-1)[None, :, :-1] <= block[b][:, :, None]).sum(-1)  # (N, H)
            scores = by_loops(start, (index - 2.0)[:, :, None], 0.0)
            elites = index[np.argsort(-scores, kind="stable")[: config.elites]]
            # Ties between equal plans do not matter: equal plans have equal actions.
            probs = np.stack([[(elites[:, h] == action).mean() for action in range(5)] for h in range(2)])
        assert int(found[b].argmax()) == int(probs[0].argmax())
        assert sorted(found[b].tolist()) == [0.0, 0.0, 0.0, 0.0, 1.0]


# -- iCEM ------------------------------------------------------------------------------------------------------------


def reference_icem(world: PointMass, noise: list[Any], config: ICEMConfig, colour: Array) -> Array:
    """Algorithm 1 of the paper."""
    actions = np.zeros((len(noise), 3, 2))
    count = math.ceil(config.kept * config.elites)
    for b in range(3):
        mean = np.zeros((config.horizon, 2))
        remembered: Any = None
        for step, blocks in enumerate(noise):
            std = np.full_like(mean, config.std)

            def sample(block: Array, mean: Array = mean, std: Array = std, b: int = b) -> Array:
                coloured = np.einsum("nah,hk->nka", block[b], colour)
                return np.clip(mean + std * coloured, -1, 1)

            kept = sample(blocks[0])
            if remembered is not None:
                kept = np.concatenate([remembered[:, 1:], kept[:, -1:]], 1)
            for round_, block in enumerate(blocks[1:]):
                plans = np.concatenate([sample(block, mean, std), kept])
                assert len(block[b]) == max(int(config.candidates * config.decay**-round_), 2 * config.elites)
                if round_ == config.iterations - 1:
                    plans = np.concatenate([plans, np.clip(mean, -1, 1)[None]])
                elites = top(plans, by_loops(start_of(world, step, b), plans), config.elites)
                mean = config.momentum * mean + (1 - config.momentum) * elites.mean(0)
                std = config.momentum * std + (1 - config.momentum) * elites.std(0)
                kept = elites[:count]
            actions[step, b] = elites[0, 0]
            mean = np.concatenate([mean[1:], mean[-1:]])
            remembered = kept
    return actions


ICEM_SMALL = ICEMConfig(horizon=4, candidates=20, iterations=3, elites=5, kept=0.5)


def test_icem_agrees_with_a_float64_reference_on_the_same_noise():
    world = points()
    planner = ICEM(ICEM_SMALL, world.action, None)
    found, noise = planned(planner, world, 3)
    wanted = reference_icem(world, noise, ICEM_SMALL, planner.colouring.double().numpy())
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    for change in ({"kept": 0.0}, {"momentum": 0.0}, {"decay": 1.0}, {"colour": 0.0}):
        other = ICEM(ICEM_SMALL.model_copy(update=change), world.action, None)
        assert np.abs(planned(other, world, 3)[0] - wanted).max() > 1e-3, change


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("steps", [8, 13])
def test_coloured_noise_has_the_power_that_its_exponent_says(exponent: float, steps: int):
    """The spectrum of a linear filter is the squared transform of its answer to an impulse."""
    matrix = colouring(steps, exponent).double().numpy()
    covariance = matrix.T @ matrix
    np.testing.assert_allclose(np.diag(covariance), 1.0, rtol=1e-5)
    power = np.abs(np.fft.rfft(matrix[0])) ** 2
    frequency = np.fft.rfftfreq(steps)
    frequency[0] = 1 / steps
    np.testing.assert_allclose(power / power[1], (frequency / frequency[1]) ** -exponent, rtol=1e-4)
    neighbours = covariance[0, 1]
    assert neighbours == pytest.approx(0.0, abs=1e-6) if exponent == 0 else neighbours > 0.2


def test_a_plan_of_one_step_has_plain_noise():
    assert colouring(1, 2.0).tolist() == [[1.0]]


# -- MPPI ------------------------------------------------------------------------------------------------------------


def reference_mppi(world: PointMass, noise: list[Any], config: MPPIConfig, proposed: int) -> Array:
    """TD-MPC2's planner: softmax weights of the elites, deviations within bounds, an elite drawn by weight."""
    actions = np.zeros((len(noise), 3, 2))
    for b in range(3):
        last: Any = None
        for step, given in enumerate(noise):
            start, blocks = start_of(world, step, b), list(given)
            proposals = reference_proposals(start, b, proposed, config.horizon, blocks)
            mean = np.zeros((config.horizon, 2))
            if last is not None:
                mean[:-1] = last[1:]
            std = np.full_like(mean, config.max_std)
            for block in blocks[: config.iterations]:
                plans = np.concatenate([proposals, np.clip(mean + std * block[b], -1, 1)])
                scores = by_loops(start, plans)
                order = np.argsort(-scores, kind="stable")[: config.elites]
                elites, weight = plans[order], np.exp(config.temperature * (scores[order] - scores.max()))
                weight /= weight.sum()
                mean = np.einsum("k,kha->ha", weight, elites)
                std = np.sqrt(np.einsum("k,kha->ha", weight, (elites - mean) ** 2))
                std = np.clip(std, config.min_std, config.max_std)
            last = mean
            if config.execute == "mean":
                actions[step, b] = mean[0]
            else:
                picked = int((weight.cumsum()[:-1] <= blocks[config.iterations][b]).sum())
                actions[step, b] = elites[picked, 0]
    return actions


MPPI_SMALL = MPPIConfig(candidates=30, iterations=3, elites=6, proposals=None, temperature=4.0)


@pytest.mark.parametrize("execute", ["elite", "mean"])
@pytest.mark.parametrize("actor", [False, True])
def test_mppi_agrees_with_a_float64_reference_on_the_same_noise(execute: Any, actor: bool):
    world = points()
    config = MPPI_SMALL.model_copy(update={"execute": execute})
    planner = MPPI(config, world.action, Guide(world) if actor else None)
    assert planner.proposals == (15 if actor else 0)
    found, noise = planned(planner, world, 2)
    wanted = reference_mppi(world, noise, config, planner.proposals)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    changes: list[dict[str, Any]] = [{"min_std": 0.4}, {"max_std": 1.0}, {"warm_start": False}, {"elites": 7}]
    for change in [{"temperature": 200.0}, *([] if actor else changes)]:  # the actor knows the answer
        other = MPPI(config.model_copy(update=change), world.action, planner.proposal)
        assert np.abs(planned(other, world, 2)[0] - wanted).max() > 1e-3, change


def test_mppi_explores_with_the_deviation_that_it_ended_with():
    world = points()
    latent = world.starts(3)
    for noise in (True, False):
        planner = MPPI(MPPI_SMALL.model_copy(update={"min_std": 0.2, "noise": noise}), world.action, None)
        quiet, loud = (
            planner.plan(latent, planner.initial(3), world, explore=explore, sampling=Recorder([7, 8, 9]))[0]
            for explore in (False, True)
        )
        assert torch.equal(quiet, loud) is not noise
        assert float((quiet - loud).abs().max()) < 1.0


def test_the_defaults_are_the_papers():
    """Note 21, number by number."""
    paper = CEMConfig(**CEMConfig.presets["paper"])
    assert (paper.candidates, paper.elites, paper.iterations, paper.horizon) == (1000, 100, 10, 12)
    assert (paper.std, paper.min_std, paper.momentum, paper.warm_start, paper.noise) == (1.0, 0.0, 0.0, False, "normal")
    pets = CEMConfig(**CEMConfig.presets["pets"])
    assert (pets.noise, pets.momentum, pets.warm_start, pets.std) == ("truncated", 0.1, True, 0.5)
    mppi = MPPIConfig()
    assert (mppi.horizon, mppi.candidates, mppi.elites, mppi.iterations) == (3, 512, 64, 6)
    assert (mppi.temperature, mppi.min_std, mppi.max_std, mppi.warm_start) == (0.5, 0.05, 2.0, True)
    world = points()
    assert MPPI(mppi, world.action, Guide(world)).proposals == 24
