"""Planners on problems whose answers are known: linear control by Riccati, two peaks, a chain by dynamic programming.

All of them plan in the framework's own `Imagination`, over models that are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.contracts import (
    ActionSpec,
    Actor,
    Carry,
    Distribution,
    Dynamics,
    Head,
    Latent,
    Observed,
    Sampling,
    SearchPlanner,
    Transition,
    View,
)
from reverie.testing.toys import ToyAgent, ToyNormal, ToyOneHot
from reverie_plugins.search.config import ExhaustiveConfig, GradientConfig
from reverie_plugins.search.exhaustive import Exhaustive
from reverie_plugins.search.gradient import GradientAscent
from reverie_plugins.shooting.cem import CEM
from reverie_plugins.shooting.config import CEMConfig, GuidedConfig, ICEMConfig, MPPIConfig, RandomShootingConfig
from reverie_plugins.shooting.guided import Guided
from reverie_plugins.shooting.icem import ICEM
from reverie_plugins.shooting.mppi import MPPI
from reverie_plugins.shooting.plans import Elites, GaussianPlans
from reverie_plugins.shooting.random_shooting import RandomShooting

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class State(Latent):
    """Numbers (*B, D)."""

    x: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


class World(Dynamics[State]):
    """A known step (*B, D), (*B, A) -> (*B, D); on request a normal noise of its own after every step."""

    def __init__(self, step: Any, size: int, noise: Any = None) -> None:
        nn.Module.__init__(self)
        self.step, self.feature_size, self.code_size, self.noise = step, size, size, noise

    def initial(self, batch_size: int) -> State:
        return State(torch.zeros(batch_size, self.feature_size))

    def observe(self, embed: Any, action: Any, is_first: Any, state: Any = None, *, sampling: Any) -> Observed[State]:
        raise AssertionError("nothing is observed while planning")

    def imagine(self, state: State, action: Tensor, sampling: Sampling) -> State:
        x = self.step(state.x, action)
        return State(x if self.noise is None else x + self.noise(state.x, action) * sampling.randn(x.shape))

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}


class Known(Head):
    """A known function of a transition's features and action."""

    def __init__(self, function: Any, reads: Any = "after") -> None:
        nn.Module.__init__(self)
        self.function, self.reads = function, reads

    def forward(self, transition: Transition) -> Distribution:
        parts = [transition.before, transition.action, transition.after]
        known = [part.features if isinstance(part, Latent) else part for part in parts if part is not None]
        return ToyNormal(self.function(*known), 1.0, 0)


def imagination(world: World, action: ActionSpec, **heads: Head) -> Imagination:
    return Imagination(ToyAgent(action=action, dynamics=world, heads=heads))


def seeds(rows: range) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(row) for row in rows])


def act(planner: SearchPlanner, world: Imagination, x: Array, rows: range | None = None, steps: int = 1) -> Tensor:
    """The planner's action, asked `steps` times in the same states (so that memory can help)."""
    latent, sampling = State(torch.tensor(x, dtype=torch.float32)), seeds(rows or range(len(x)))
    carry: Carry = planner.initial(len(x))
    with torch.set_grad_enabled(planner.differentiates):
        for _ in range(steps):
            action, carry = planner.plan(latent, carry, world, explore=False, sampling=sampling)
    return action


# -- a point mass with quadratic costs -------------------------------------------------------------------------------

H = 5
A_MATRIX = np.array([[1.0, 0.5], [0.0, 1.0]])
B_MATRIX = np.array([[0.125], [0.5]])
Q, R = np.diag([1.0, 0.1]), np.array([[0.05]])
FORCE = ActionSpec("continuous", 1)


def riccati() -> tuple[Array, Array]:
    """The gain of the first of H steps, and the matrix of costs to go. Costs: x' Q x on arrival, and a' R a."""
    cost_to_go = np.zeros((2, 2))
    for _ in range(H):
        after = Q + cost_to_go
        gain = np.linalg.solve(R + B_MATRIX.T @ after @ B_MATRIX, B_MATRIX.T @ after @ A_MATRIX)
        cost_to_go = A_MATRIX.T @ after @ (A_MATRIX - B_MATRIX @ gain)
    return gain, cost_to_go


def point_mass() -> Imagination:
    a, b = torch.tensor(A_MATRIX).float(), torch.tensor(B_MATRIX).float()
    q, r = torch.tensor(Q).float(), float(R[0, 0])
    reward = Known(lambda before, action, after: -((after @ q) * after).sum(-1) - r * action[..., 0] ** 2, "transition")
    return imagination(World(lambda x, u: x @ a.T + u @ b.T, 2), FORCE, reward=reward)


def starts(B: int) -> Array:
    """States from which the best force stays within the bounds."""
    return np.random.default_rng(0).uniform(-0.2, 0.2, (B, 2))


class Nearly(Actor):
    """The linear controller, spoiled: its gain is too small, and it trembles."""

    def __init__(self) -> None:
        super().__init__(None, 2, FORCE)

    def policy(self, latent: Latent) -> Distribution:
        gain = torch.tensor(0.8 * riccati()[0]).float()
        return ToyNormal(-latent.features @ gain.T, 0.1, 1, bound=1.0)


def for_forces() -> dict[str, tuple[SearchPlanner, float]]:
    """Every planner for continuous actions, with how far its first action may be from the best."""
    cem: dict[str, Any] = {"horizon": H, "candidates": 300, "elites": 20}
    mppi = {"horizon": H, "temperature": 20.0, "execute": "mean", "min_std": 0.01, "iterations": 12}
    return {
        "planet": (CEM(CEMConfig(**cem, iterations=10, min_std=0.0), FORCE, None), 0.04),
        "pets": (CEM(CEMConfig(**{**CEMConfig.presets["pets"], **cem, "iterations": 10}), FORCE, None), 0.04),
        "icem": (ICEM(ICEMConfig(**cem, iterations=8, colour=0.5), FORCE, None), 0.04),
        "mppi": (MPPI(MPPIConfig(**mppi), FORCE, None), 0.06),
        "mppi with proposals": (MPPI(MPPIConfig(**mppi, proposals=100), FORCE, Nearly()), 0.04),
        "guided": (Guided(GuidedConfig(horizon=H, candidates=400), FORCE, Nearly()), 0.15),
        "gradient": (
            GradientAscent(GradientConfig(horizon=H, iterations=120, lr=0.05, candidates=2), FORCE, None),
            0.02,
        ),
        "random_shooting": (RandomShooting(RandomShootingConfig(horizon=H, candidates=4000), FORCE, None), 0.4),
    }


@pytest.mark.parametrize("name", for_forces())
def test_the_first_action_is_the_linear_controllers(name: str):
    planner, slack = for_forces()[name]
    world, x = point_mass(), starts(16)
    wanted = -(x @ riccati()[0].T)
    assert 0.1 < np.abs(wanted).max() < 0.95
    together = act(planner, world, x)
    assert np.abs(together.numpy() - wanted).max() < slack
    alone = torch.cat([act(planner, world, x[row : row + 1], range(row, row + 1)) for row in range(4)])
    torch.testing.assert_close(alone, together[:4], atol=2e-4, rtol=0)


def test_the_score_of_the_best_plan_is_the_riccati_cost_and_no_plan_scores_more():
    world, x = point_mass(), starts(3)
    cost = riccati()[1]
    plans = np.zeros((3, 1, H, 1))
    for b in range(3):
        state, ahead = x[b], H
        for h in range(H):
            # Gains differ from step to step: solve what is left.
            after = Q.copy()
            for _ in range(ahead - 1):
                after = Q + A_MATRIX.T @ after @ (
                    A_MATRIX
                    - B_MATRIX @ np.linalg.solve(R + B_MATRIX.T @ after @ B_MATRIX, B_MATRIX.T @ after @ A_MATRIX)
                )
            plans[b, 0, h] = -np.linalg.solve(R + B_MATRIX.T @ after @ B_MATRIX, B_MATRIX.T @ after @ A_MATRIX) @ state
            state, ahead = A_MATRIX @ state + B_MATRIX @ plans[b, 0, h], ahead - 1
    latent, best = State(torch.tensor(x).float()), torch.tensor(plans).float()
    scores = world.score(latent, best, sampling=Sampling())[:, 0]
    np.testing.assert_allclose(scores.numpy(), -np.einsum("bi,ij,bj->b", x, cost, x), rtol=1e-4)
    others = best + 0.2 * torch.randn(3, 200, H, 1, generator=torch.Generator().manual_seed(0))
    assert bool((world.score(latent, others, sampling=Sampling()) <= scores[:, None] + 1e-6).all())


# -- two peaks ---------------------------------------------------------------------------------------------------------


def two_peaks() -> Imagination:
    """One step; the reward of action a has a peak of 1 at -0.6, one of 1.2 at 0.7, and nothing in between."""

    def height(action: Tensor) -> Tensor:
        a = action[..., 0]
        return torch.exp(-((a + 0.6) / 0.15).square()) + 1.2 * torch.exp(-((a - 0.7) / 0.15).square())

    world = World(lambda x, u: x, 1)
    return imagination(world, FORCE, reward=Known(lambda before, action: height(action), "before_action"))


class MeanOnly(GaussianPlans):
    """Moves the mean and keeps the deviation: the next round's elites lie on both peaks again."""

    def refit(self, centre: Tensor, spread: Tensor, elites: Elites) -> tuple[Tensor, Tensor]:
        return super().refit(centre, spread, elites)[0], spread


def height(actions: Tensor) -> Tensor:
    a = actions[:, 0]
    return torch.exp(-((a + 0.6) / 0.15).square()) + 1.2 * torch.exp(-((a - 0.7) / 0.15).square())


@pytest.mark.parametrize("name", ["planet", "pets", "icem", "mppi", "gradient", "random_shooting"])
def test_a_peak_is_found_where_the_middle_between_two_is_worth_nothing(name: str):
    one: dict[str, Any] = {"horizon": 1}
    pets = {**CEMConfig.presets["pets"], "horizon": 1, "iterations": 8}
    planner: SearchPlanner = {
        "planet": lambda: CEM(CEMConfig(**one, candidates=300, elites=15, iterations=10), FORCE, None),
        "pets": lambda: CEM(CEMConfig(**pets), FORCE, None),
        "icem": lambda: ICEM(ICEMConfig(**one, iterations=6), FORCE, None),
        "mppi": lambda: MPPI(MPPIConfig(**one, temperature=5.0), FORCE, None),
        "gradient": lambda: GradientAscent(GradientConfig(**one, iterations=30), FORCE, None),
        "random_shooting": lambda: RandomShooting(RandomShootingConfig(**one), FORCE, None),
    }[name]()
    world = two_peaks()
    found = act(planner, world, np.zeros((16, 1)))
    assert float(height(found).min()) > 0.9
    assert float(height(found).mean()) > 1.1, "the higher peak, but for a few"
    alone = torch.cat([act(planner, world, np.zeros((1, 1)), range(row, row + 1)) for row in range(4)])
    torch.testing.assert_close(alone, found[:4])


def test_a_mean_alone_ends_between_the_peaks():
    config = CEMConfig(horizon=1, candidates=300, elites=100, iterations=10)
    planner = CEM(config, FORCE, None)
    planner.plans = MeanOnly(config, FORCE)
    assert float(height(act(planner, two_peaks(), np.zeros((16, 1)))).mean()) < 0.5


# -- a chain -----------------------------------------------------------------------------------------------------------

STEPS, DISCOUNT = 6, 0.9
MOVES = ActionSpec("discrete", 3)
GAIN = np.array([0.6, 0.0, -0.1, 0.0, 0.3, -0.6, 0.0, -2.0, 0.0, 4.0])
"""Reward on arrival in each of ten places: a little near the left end, much at the right end, behind a loss."""
GOES_ON = np.array([1.0, 1, 1, 1, 1, 1, 1, 0.5, 1, 0.0])
"""Chance that the episode goes on after arrival."""


def chain() -> Imagination:
    last = len(GAIN) - 1

    def step(x: Tensor, action: Tensor) -> Tensor:
        return (x + action[..., 2:3] - action[..., 0:1]).clamp(0, last)  # left, stay, right

    def look(table: Array) -> Any:
        values = torch.tensor(table).float()
        return lambda x: values[x[..., 0].round().long()]

    return imagination(World(step, 1), MOVES, **{"reward": Known(look(GAIN)), "continue": Known(look(GOES_ON))})


def dynamic_programming(continues: bool) -> tuple[Array, Array]:
    """Values (places,) and action values (places, 3) with STEPS to go, by backward induction."""
    places = np.arange(len(GAIN))
    after = np.clip(places[:, None] + np.array([-1, 0, 1]), 0, len(GAIN) - 1)  # (places, 3)
    value = np.zeros(len(GAIN))
    for _ in range(STEPS):
        ahead = (GOES_ON if continues else 1.0) * value
        q = GAIN[after] + DISCOUNT * ahead[after]
        value = q.max(1)
    return value, q


class AnyMove(Actor):
    def __init__(self) -> None:
        super().__init__(None, 1, MOVES)

    def policy(self, latent: Latent) -> Distribution:
        return ToyOneHot(torch.zeros(*latent.batch_shape, 3))


def for_moves(**options: Any) -> dict[str, SearchPlanner]:
    options = {"horizon": STEPS, "discount": DISCOUNT, **options}
    return {
        "exhaustive": Exhaustive(ExhaustiveConfig(**options), MOVES, None),
        "cem": CEM(CEMConfig(**options, candidates=3000, elites=3, iterations=2), MOVES, None),
        "random_shooting": RandomShooting(RandomShootingConfig(**options, candidates=5000), MOVES, None),
        "guided": Guided(GuidedConfig(**options, candidates=5000), MOVES, AnyMove()),
    }


@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("name", ["exhaustive", "cem", "random_shooting", "guided"])
def test_the_move_is_the_one_of_dynamic_programming(name: str, continues: bool):
    planner, world = for_moves(continues=continues)[name], chain()
    value, q = dynamic_programming(continues)
    places = np.arange(len(GAIN) - 1).repeat(2)[:16, None].astype(float)
    found = act(planner, world, places)
    for place, move in zip(places[:, 0].astype(int), found.argmax(-1).tolist(), strict=True):
        assert q[place, move] == pytest.approx(value[place], abs=1e-6), (place, q[place])
    alone = torch.cat([act(planner, world, places[row : row + 1], range(row, row + 1)) for row in range(4)])
    assert torch.equal(alone, found[:4])
    assert len(set(found.argmax(-1).tolist())) >= 2, "one answer does not fit all"


def test_exhaustive_search_scores_what_dynamic_programming_promises():
    planner, world = for_moves()["exhaustive"], chain()
    value, _ = dynamic_programming(True)
    assert isinstance(planner, Exhaustive)
    assert planner.plans.shape == (3**STEPS, STEPS, 3)
    assert len(planner.plans.flatten(1).unique(dim=0)) == 3**STEPS
    for place in range(len(GAIN)):
        plans = planner.plans[None].float()
        scores = world.score(State(torch.tensor([[float(place)]])), plans, sampling=Sampling(), discount=DISCOUNT)
        assert float(scores.max()) == pytest.approx(value[place], abs=1e-6)


def test_a_short_sight_takes_the_small_reward():
    """The same problem seen two steps ahead has another answer, so that the horizon is really used."""
    near = Exhaustive(ExhaustiveConfig(horizon=2, discount=DISCOUNT), MOVES, None)
    far = for_moves()["exhaustive"]
    place = np.array([[3.0]])
    assert act(near, chain(), place).argmax() != act(far, chain(), place).argmax()


# -- goals of one's own ------------------------------------------------------------------------------------------------


def test_a_goal_is_a_head_and_needs_no_new_planner():
    """The point mass again, sent to 0.3 by a cost that its makers never knew."""
    plain = point_mass()
    world = Imagination(plain._agent)
    world._agent.heads["cost"] = Known(lambda x: (x[..., 0] - 0.3).square())  # type: ignore[index]
    config = CEMConfig(horizon=3, candidates=300, iterations=8, elites=20, score_by="cost")
    state, x = State(torch.zeros(2, 2)), torch.zeros(2, 2)
    planner, carry = CEM(config, FORCE, None), {}
    for step in range(8):
        action, carry = planner.plan(state, carry, world, explore=False, sampling=seeds(range(2 * step, 2 * step + 2)))
        state = world._agent.dynamics.imagine(state, action, Sampling())
        x = state.x
    assert float((x[:, 0] - 0.3).abs().max()) < 0.03


def test_noise_in_the_model_reaches_the_score():
    """Equal plans under a noisy model: their scores differ, and less so with more particles."""
    world = imagination(World(lambda x, u: x + u, 1, lambda x, u: 0.5), FORCE, reward=Known(lambda x: x[..., 0]))
    latent, plans = State(torch.zeros(1, 1)), torch.zeros(1, 400, 1, 1)
    one, many = (world.score(latent, plans, sampling=seeds(range(1)), particles=p).std() for p in (1, 25))
    assert float(one) == pytest.approx(0.5, rel=0.15)
    assert float(many) == pytest.approx(0.1, rel=0.15)
