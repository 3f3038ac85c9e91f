"""Correctness note 28 (and 22 to 24 for members), by loops over floats, hand-made members and known chances."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.contracts import ActionSpec, Batch, Distribution, Head, Latent, Sampling, Transition, View
from reverie.testing.toys import ToyAgent, ToyNormal
from reverie_plugins.ensemble.bootstrap import bootstrap_counts
from reverie_plugins.ensemble.config import EnsembleConfig
from reverie_plugins.ensemble.dynamics import Ensemble
from reverie_plugins.ensemble.latent import EnsembleLatent

MODE = Sampling(mode="mode")
ACTION = ActionSpec("continuous", 1)


def seeded(seed: int = 0) -> Sampling:
    return Sampling(generators=[torch.Generator().manual_seed(seed)])


# -- the likelihood ---------------------------------------------------------------------------------------------------

Embedded = list[list[list[float]]]


def shown(embed: Tensor, action: Tensor, is_first: Tensor, step_id: Tensor, dynamics: Ensemble) -> View:
    """A view whose embedding is given."""
    B, T = is_first.shape
    never = torch.zeros_like(is_first)
    batch = Batch({"state": embed}, action, torch.zeros(B, T), is_first, never, never, step_id)
    view = View(batch, ToyAgent(dynamics=dynamics), MODE)
    view._embed = embed
    return view


def trial(**options: Any) -> tuple[Ensemble, View]:
    torch.manual_seed(1)
    dynamics = Ensemble(EnsembleConfig(members=3, units=4, layers=1, **options), 2, ACTION)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
        if dynamics.config.probabilistic:  # bounds that every output feels
            dynamics.min_log_variance.copy_(torch.tensor([-1.5, -0.8]))
            dynamics.max_log_variance.copy_(torch.tensor([0.4, 0.1]))
    is_first = torch.tensor([[False, False, True, False, False], [True, False, False, False, False]])
    step_id = torch.tensor([[3, 4, 900, 901, 902], [70_000, 70_001, 70_002, 70_003, 70_004]])
    return dynamics, shown(torch.randn(2, 5, 2), torch.rand(2, 5, 1) * 2 - 1, is_first, step_id, dynamics)


def poisson_count(step_id: int, member: int) -> int:
    """SplitMix64 on Python's own integers, and the inverse of the Poisson distribution function."""
    mask = (1 << 64) - 1

    def mixed(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    uniform = (mixed((mixed(step_id + 1) + (member + 1) * 0x9E3779B97F4A7C15) & mask) >> 11) / 2**53
    count, below = 0, math.exp(-1)
    while uniform >= below:
        count += 1
        below += math.exp(-1) / math.factorial(count)
    return count


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def one_member(dynamics: Ensemble, m: int, x: list[float], a: float) -> list[float]:
    """A member's outputs, by sums over Python floats."""
    values = [*x, a]
    for depth, layer in enumerate(dynamics.net.layers):
        weight, bias = layer.weight[m].double().tolist(), layer.bias[m, 0].double().tolist()
        values = [sum(v * weight[i][j] for i, v in enumerate(values)) + b for j, b in enumerate(bias)]
        if depth == 0:
            values = [v / (1 + math.exp(-v)) for v in values]
    return values


def by_hand(dynamics: Ensemble, view: View, counted: bool) -> list[list[float]]:
    embed, action = view.embed.double().tolist(), view.batch.action.double().tolist()
    low, high = dynamics.min_log_variance.tolist(), dynamics.max_log_variance.tolist()
    found = [[0.0] * 5 for _ in range(2)]
    for b in range(2):
        for t in range(1, 5):
            if view.batch.is_first[b, t]:
                continue
            for m in range(3):
                outputs = one_member(dynamics, m, embed[b][t - 1], action[b][t][0])
                loss = 0.0
                for d in range(2):
                    log_variance = high[d] - softplus(high[d] - outputs[2 + d])
                    log_variance = low[d] + softplus(log_variance - low[d])
                    error = embed[b][t][d] - (embed[b][t - 1][d] + outputs[d])
                    loss += 0.5 * (error**2 / math.exp(log_variance) + log_variance + math.log(2 * math.pi))
                found[b][t] += loss * (poisson_count(int(view.batch.step_id[b, t]), m) if counted else 1)
    return found


@pytest.mark.parametrize("counted", [True, False])
def test_the_likelihood_is_that_of_each_member_on_its_own_data(counted: bool) -> None:
    dynamics, view = trial(bootstrap=counted)
    losses = dynamics.losses(view)
    torch.testing.assert_close(
        losses["prediction"], torch.tensor(by_hand(dynamics, view, counted)), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(losses["bounds"], torch.full((2, 5), 0.01 * (0.4 + 0.1 + 1.5 + 0.8)))


def test_without_variances_the_loss_is_half_the_squared_error() -> None:
    dynamics, view = trial(probabilistic=False, bootstrap=False)
    losses = dynamics.losses(view)
    assert set(losses) == {"prediction"}
    x, total = view.embed.tolist(), 0.0
    for m in range(3):
        change = one_member(dynamics, m, x[0][3], float(view.batch.action[0, 4, 0]))
        total += sum(0.5 * (x[0][4][d] - x[0][3][d] - change[d]) ** 2 for d in range(2))
    assert float(losses["prediction"][0, 4].detach()) == pytest.approx(total, rel=1e-4)


def test_the_bounds_are_soft_and_learned_and_hold() -> None:
    dynamics, _ = trial()
    low, high = dynamics.min_log_variance, dynamics.max_log_variance
    outputs = torch.tensor([[0.0, 0.0, x, x] for x in (-50.0, -3.0, 0.0, 3.0, 50.0)], requires_grad=True)
    predicted: Any = dynamics._predicted(torch.zeros(5, 2), outputs)
    log_variance = 2 * predicted.std.log()
    ends = torch.stack([low, high]).detach()
    assert bool((log_variance >= ends[0] - 1e-5).all())
    # the lower softplus adds what is left of the distance, log(1 + exp(low - high)), to the upper bound
    assert bool((log_variance <= ends[1] + torch.nn.functional.softplus(ends[0] - ends[1]) + 1e-5).all())
    steepness = torch.autograd.grad(log_variance.sum(), [outputs, low, high])
    assert bool((steepness[0][1:4, 2:] > 0.01).all()), "a clip has no gradient beyond its bounds"
    assert all(bool((gradient > 0).all()) for gradient in steepness[1:])


def test_no_gradient_of_the_prediction_reaches_the_encoder() -> None:
    dynamics, view = trial()
    view._embed = view.embed.clone().requires_grad_()
    assert torch.autograd.grad(dynamics.losses(view)["prediction"].sum(), view.embed, allow_unused=True)[0] is None


# -- bootstrapped data sets -------------------------------------------------------------------------------------------


def test_counts_are_a_function_of_the_row_and_the_member_alone() -> None:
    ids = torch.tensor([[0, 1, 2**40], [77, 5, 10**15]])
    counts = bootstrap_counts(ids, 4)
    assert counts.tolist() == [[[poisson_count(int(i), m) for i in row] for row in ids] for m in range(4)]
    assert torch.equal(bootstrap_counts(ids.flatten().flip(0), 2), counts[:2].flatten(1).flip(1))


def test_counts_are_those_of_draws_with_replacement() -> None:
    """Poisson with mean 1: 37% of the rows are missing from a member's data, and members choose independently."""
    counts = bootstrap_counts(torch.arange(50_000), 3)  # (3, N)
    for k in range(5):
        chance = math.exp(-1) / math.factorial(k)
        seen = (counts == k).double().mean(1)
        assert float((seen - chance).abs().max()) < 5 * math.sqrt(chance * (1 - chance) / 50_000)
    centred = counts.double() - 1
    products = (centred @ centred.T) / 50_000
    assert float((products - torch.eye(3)).abs().max()) < 0.03
    neighbours = (centred[:, 1:] * centred[:, :-1]).mean(1)
    assert float(neighbours.abs().max()) < 0.03


def test_one_member_sees_everything() -> None:
    _, view = trial(bootstrap=True)
    single = Ensemble(EnsembleConfig(members=1, units=4, layers=1, probabilistic=False), 2, ACTION)
    assert single.members is None
    free = Ensemble(EnsembleConfig(members=1, units=4, layers=1, probabilistic=False, bootstrap=False), 2, ACTION)
    free.load_state_dict(single.state_dict())
    assert torch.equal(single.losses(view)["prediction"], free.losses(view)["prediction"])


# -- trajectories -----------------------------------------------------------------------------------------------------


def walkers(shifts: list[float], std: float | None = None, **options: Any) -> Ensemble:
    """Members that each move x by a number of their own, whatever the action."""
    config = EnsembleConfig(members=len(shifts), layers=0, probabilistic=std is not None, **options)
    dynamics = Ensemble(config, 1, ACTION)
    layer = dynamics.net.layers[0]
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias[:, 0, 0] = torch.tensor(shifts)
        if std is not None:
            layer.bias[:, 0, 1] = 2 * math.log(std)
            dynamics.min_log_variance.fill_(-40.0)
            dynamics.max_log_variance.fill_(40.0)
    return dynamics


def travelled(dynamics: Ensemble, rows: int, steps: int, sampling: Sampling) -> EnsembleLatent:
    state = dynamics.branch(dynamics.initial(1), rows)
    with torch.no_grad():
        for _ in range(steps):
            state = dynamics.imagine(state, torch.zeros(rows, 1), sampling)
    return state


def test_ts_infinity_keeps_the_member_along_a_trajectory() -> None:
    end = travelled(walkers([1.0, -1.0, 0.25]), 9, 8, seeded())
    assert end.x.flatten().tolist() == [8.0, -8.0, 2.0] * 3


def test_ts_1_draws_a_member_anew_for_each_step() -> None:
    """A walk of 8 independent steps of +-1: variance 8; every parity-consistent end is reached, by binomial chances."""
    end = travelled(walkers([1.0, -1.0], propagation="ts1"), 20_000, 8, seeded()).x.flatten()
    assert abs(float(end.mean())) < 0.08
    assert float(end.var()) == pytest.approx(8.0, abs=0.35)
    for heads in range(9):
        chance = math.comb(8, heads) / 2**8
        share = float((end == 2 * heads - 8).double().mean())
        assert abs(share - chance) < 5 * math.sqrt(chance / 20_000)


def test_with_the_most_likely_values_ts_1_keeps_its_member() -> None:
    assert travelled(walkers([1.0, -1.0], propagation="ts1"), 4, 3, MODE).x.flatten().tolist() == [3.0, -3.0] * 2


def test_noise_has_the_predicted_deviation_and_is_drawn_per_step() -> None:
    end = travelled(walkers([0.5], std=0.3), 20_000, 4, seeded()).x.flatten()
    assert float(end.mean()) == pytest.approx(2.0, abs=0.02)
    assert float(end.std()) == pytest.approx(0.6, abs=0.02)


def test_branches_are_interleaved_and_copy_j_follows_member_j_modulo_m() -> None:
    dynamics = walkers([1.0, 2.0, 3.0])
    state = EnsembleLatent(torch.tensor([[10.0], [20.0]]), torch.tensor([2, 1]))
    branched = dynamics.branch(state, 5)
    assert branched.x.flatten().tolist() == [10.0] * 5 + [20.0] * 5
    assert branched.member.tolist() == [0, 1, 2, 0, 1] * 2


@pytest.mark.parametrize("member", [[0, 1, 2, 0, 1, 2], [2, 2, 2, 0, 2, 2], [1, 0, 0, 0, 2, 1], [0] * 6])
def test_each_row_is_predicted_by_its_own_member(member: list[int]) -> None:
    torch.manual_seed(0)
    dynamics = Ensemble(EnsembleConfig(members=3, units=5), 2, ACTION)
    x, action = torch.randn(6, 2), torch.rand(6, 1)
    got = dynamics.imagine(EnsembleLatent(x, torch.tensor(member)), action, MODE)
    for row, m in enumerate(member):
        hidden: Any = torch.cat((x[row], action[row]))
        for depth, layer in enumerate(dynamics.net.layers):
            hidden = hidden @ layer.weight[m] + layer.bias[m, 0]
            hidden = nn.functional.silu(hidden) if depth < 2 else hidden
        torch.testing.assert_close(got.x[row], x[row] + hidden[:2], rtol=1e-5, atol=1e-5)


# -- uncertainty ------------------------------------------------------------------------------------------------------


class Position(Head):
    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, transition: Transition) -> Distribution:
        assert transition.after is not None
        return ToyNormal(transition.after.features[..., 0], 1.0, 0)


def test_a_planner_sees_disagreement_through_its_particles() -> None:
    """Members that move by 1, 2 and 6: after two steps 2, 4 and 12, so that the sum of rewards is 3, 6 and 18."""
    agent = ToyAgent(action=ACTION, dynamics=walkers([1.0, 2.0, 6.0]), heads={"reward": Position()})
    start: Latent = agent.dynamics.initial(2)
    scores = [Imagination(agent).score(start, torch.zeros(2, 4, 2, 1), sampling=MODE, risk=risk) for risk in (0.0, 1.0)]
    deviation = math.sqrt((36 + 9 + 81) / 3)
    torch.testing.assert_close(scores[0], torch.full((2, 4), 9.0))
    torch.testing.assert_close(scores[1], torch.full((2, 4), 9.0 - deviation))


def test_disagreement_is_the_spread_of_the_members_means_and_not_noise() -> None:
    state = EnsembleLatent(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))
    apart = walkers([1.0, 2.0, 6.0], std=3.0).disagreement(state, torch.zeros(4, 1))
    torch.testing.assert_close(apart, torch.full((4,), math.sqrt((4 + 1 + 9) / 3)))
    agreed = walkers([1.0, 1.0], std=3.0).disagreement(state, torch.zeros(4, 1))
    assert float(agreed.abs().max()) == 0.0
