"""Imagination against loops over Python floats, on a model with exact answers (notes 14, 15, 19, 22 to 24)."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.contracts import Dynamics, Head, Latent, Observed, Sampling, Transition, View
from reverie.testing.toys import ToyAgent, ToyNormal, toy_action

H = 4


@dataclass(frozen=True)
class Member(Latent):
    """A number x (*B, 1) that belongs to a member of an ensemble (*B, 1)."""

    x: Tensor
    member: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


class Decay(Dynamics[Member]):
    """x' = (0.9 + 0.2 member) x + a: copy j of a state belongs to member j mod M."""

    feature_size = code_size = 1

    def __init__(self, members: int | None = None) -> None:
        nn.Module.__init__(self)
        self.members = members

    def initial(self, batch_size: int) -> Member:
        return Member(torch.zeros(batch_size, 1).double(), torch.zeros(batch_size, 1).double())

    def observe(self, embed: Any, action: Any, is_first: Any, state: Any = None, *, sampling: Any) -> Observed[Member]:
        raise AssertionError("imagination never observes")

    def imagine(self, state: Member, action: Tensor, sampling: Sampling) -> Member:
        return replace(state, x=(0.9 + 0.2 * state.member) * state.x + action[..., :1])

    def branch(self, state: Member, n: int) -> Member:
        rows = len(state.x)
        index = torch.arange(n).repeat(rows)[:, None].double() % (self.members or 1)
        return replace(state.repeat(n), member=index)

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}


class Read(Head):
    """The mean is a function of the state after the step (and, on request, of the action)."""

    def __init__(self, function: Any, reads: Any = "after", members: int | None = None) -> None:
        nn.Module.__init__(self)
        self.function, self.reads, self.members = function, reads, members

    def forward(self, transition: Transition) -> Any:
        if self.reads == "after":
            assert transition.before is None
            assert transition.action is None
            mean = self.function(transition.after.features[..., 0])
        elif self.reads == "before_action":
            assert transition.after is None
            mean = self.function(transition.before.features[..., 0], transition.action[..., 0])
        else:
            mean = self.function(
                transition.before.features[..., 0], transition.action[..., 0], transition.after.features[..., 0]
            )
        return ToyNormal(mean, 1.0, 0)


def agent(dynamics: Decay | None = None, **heads: Head) -> ToyAgent:
    given = {"reward": Read(lambda x: 2 * x - 1), "continue": Read(torch.sigmoid), "value": Read(lambda x: 3 * x + 1)}
    given.update(heads)
    return ToyAgent(action=toy_action(size=1), dynamics=dynamics or Decay(), heads=given)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(x: float, actions: list[float], discount: float, bootstrap: bool, member: int = 0) -> float:
    """The continue-weighted return of one plan, written as a loop over steps."""
    total, weight = 0.0, 1.0
    for action in actions:
        x = (0.9 + 0.2 * member) * x + action
        total += weight * (2 * x - 1)
        weight *= discount * sigmoid(x)
    return total + (weight * (3 * x + 1) if bootstrap else 0.0)


def starts(values: list[float]) -> Member:
    x = torch.tensor(values, dtype=torch.float64)[:, None]
    return Member(x, torch.zeros_like(x))


def plans(B: int, N: int, A: int = 1) -> Tensor:
    return torch.randn(B, N, H, A, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_a_rollout_has_one_state_more_than_actions_and_each_action_leads_to_the_next_state():
    start, actions = starts([1.0, -2.0, 0.5]), plans(3, 1)[:, 0]
    steps = iter(actions.unbind(1))
    trajectory = Imagination(agent()).rollout(start, lambda latent, sampling: next(steps), H, Sampling())
    assert trajectory.states.batch_shape == (3, H + 1)
    assert trajectory.actions.shape == (3, H, 1)
    for row in range(3):
        x = float(start.x[row, 0])
        for step in range(H):
            assert float(trajectory.states.x[row, step, 0]) == pytest.approx(x)
            x = 0.9 * x + float(actions[row, step, 0])
        assert float(trajectory.states.x[row, H, 0]) == pytest.approx(x)


def test_a_rollout_asks_for_each_action_in_the_state_it_is_taken_in():
    seen: list[float] = []

    def act(latent: Latent, sampling: Sampling) -> Tensor:
        seen.append(float(latent.features[0, 0]))
        return torch.ones(1, 1, dtype=torch.float64)

    Imagination(agent()).rollout(starts([0.0]), act, 3, Sampling())
    assert seen == pytest.approx([0.0, 1.0, 1.9])


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_scores_are_continue_weighted_returns(discount: float, bootstrap: bool):
    values, actions = [1.0, -2.0, 0.5], plans(3, 5)
    found = Imagination(agent()).score(
        starts(values), actions, sampling=Sampling(), discount=discount, bootstrap=bootstrap
    )
    for b in range(3):
        for n in range(5):
            wanted = by_hand(values[b], actions[b, n, :, 0].tolist(), discount, bootstrap)
            assert float(found[b, n]) == pytest.approx(wanted), (b, n)


def test_dying_keeps_the_reward_on_arrival_and_drops_what_follows():
    # Note 19: nothing is replaced by zero. A plan that dies at once keeps exactly its first, negative reward.
    dead = agent(**{"continue": Read(torch.zeros_like), "reward": Read(lambda x: -torch.ones_like(x))})
    found = Imagination(dead).score(starts([0.0]), plans(1, 2), sampling=Sampling(), bootstrap=True)
    assert found.tolist() == [[-1.0, -1.0]]


def test_without_a_continue_head_every_step_counts():
    parts = agent()
    del parts.heads["continue"]
    steps = iter(plans(2, 1)[:, 0].unbind(1))
    imagination = Imagination(parts)
    trajectory = imagination.rollout(starts([1.0, 2.0]), lambda *_: next(steps), H, Sampling())
    assert torch.equal(imagination.continues(trajectory), torch.ones(2, H))
    summed = (2 * trajectory.states.x[:, 1:, 0] - 1).sum(1)
    torch.testing.assert_close(imagination.returns(trajectory), summed)


@pytest.mark.parametrize(
    ("reads", "function", "wanted"),
    [
        ("after", lambda y: y, lambda x, a, y: y),
        ("before_action", lambda x, a: 10 * x + a, lambda x, a, y: 10 * x + a),
        ("transition", lambda x, a, y: 100 * x + 10 * a + y, lambda x, a, y: 100 * x + 10 * a + y),
    ],
)
def test_reward_heads_read_the_transition_that_leads_to_the_reward(reads: str, function: Any, wanted: Any):
    imagination = Imagination(agent(reward=Read(function, reads)))
    steps = iter(plans(2, 1)[:, 0].unbind(1))
    trajectory = imagination.rollout(starts([1.0, 2.0]), lambda *_: next(steps), H, Sampling())
    x = trajectory.states.x[..., 0]
    torch.testing.assert_close(imagination.rewards(trajectory), wanted(x[:, :-1], trajectory.actions[..., 0], x[:, 1:]))


def test_members_of_heads_are_averaged():
    # Three members (and a batch of two and a horizon of four, so that nothing broadcasts in silence).
    shift = torch.tensor([0.0, 3.0, 9.0], dtype=torch.float64)
    parts = agent(
        reward=Read(lambda x: x[..., None] + shift, members=3), value=Read(lambda x: x[..., None] * shift, members=3)
    )
    imagination = Imagination(parts)
    steps = iter(plans(2, 1)[:, 0].unbind(1))
    trajectory = imagination.rollout(starts([1.0, 2.0]), lambda *_: next(steps), H, Sampling())
    torch.testing.assert_close(imagination.rewards(trajectory), trajectory.states.x[:, 1:, 0] + 4.0)
    torch.testing.assert_close(imagination.value(trajectory.states), trajectory.states.x[..., 0] * 4.0)


def test_particles_default_to_the_members_of_an_ensemble_and_are_averaged():
    values, actions = [1.0, -0.5], plans(2, 5)
    found = Imagination(agent(Decay(members=3))).score(starts(values), actions, sampling=Sampling())
    for b in range(2):
        for n in range(5):
            plan = actions[b, n, :, 0].tolist()
            wanted = sum(by_hand(values[b], plan, 1.0, False, member) for member in range(3)) / 3
            assert float(found[b, n]) == pytest.approx(wanted)


def test_risk_subtracts_standard_deviations_over_particles():
    actions = plans(1, 2)
    found = Imagination(agent(Decay(members=3))).score(starts([1.0]), actions, sampling=Sampling(), risk=0.5)
    for n in range(2):
        each = [by_hand(1.0, actions[0, n, :, 0].tolist(), 1.0, False, member) for member in range(3)]
        mean = sum(each) / 3
        deviation = math.sqrt(sum((one - mean) ** 2 for one in each) / 3)
        assert float(found[0, n]) == pytest.approx(mean - 0.5 * deviation)


def test_scores_that_are_not_finite_become_minus_infinity():
    bad = agent(reward=Read(lambda x: torch.where(x > 50, torch.nan, torch.where(x < -50, torch.inf, x))))
    actions = torch.zeros(2, 3, 1, 1, dtype=torch.float64)
    actions[0, 1], actions[1, 2] = 100.0, -100.0
    found = Imagination(bad).score(starts([0.0, 0.0]), actions, sampling=Sampling())
    inf = float("inf")
    assert found.tolist() == [[0.0, -inf, 0.0], [0.0, 0.0, -inf]]


def test_chunks_do_not_change_scores():
    parts, actions = agent(Decay(members=3)), plans(4, 7)
    whole = Imagination(parts).score(starts([1.0, 2.0, 3.0, -1.0]), actions, sampling=Sampling(), risk=0.1)
    for rows in (1, 3, 5, 6, 20, 50):
        parted = Imagination(parts, chunk_rows=rows).score(
            starts([1.0, 2.0, 3.0, -1.0]), actions, sampling=Sampling(), risk=0.1
        )
        torch.testing.assert_close(parted, whole, rtol=1e-14, atol=1e-14)  # the last bit is the vector unit's


@pytest.mark.parametrize("by", ["reward", "cost", "reward_minus_cost"])
@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("bootstrap", [True, False])
def test_what_a_plan_is_judged_by_is_an_option_of_the_score(by: Any, continues: bool, bootstrap: bool):
    """Costs of a user's own head count negative; predicted ends count, or do not."""
    parts = agent(cost=Read(lambda x: (x - 2).square()))
    values, actions = [1.0, -0.5], plans(2, 3)
    found = Imagination(parts).score(
        starts(values), actions, sampling=Sampling(), discount=0.8, by=by, continues=continues, bootstrap=bootstrap
    )
    for b, start in enumerate(values):
        for n in range(3):
            x, total, weight = start, 0.0, 1.0
            for action in actions[b, n, :, 0].tolist():
                x = 0.9 * x + action
                reward, cost = 2 * x - 1, (x - 2) ** 2
                total += weight * {"reward": reward, "cost": -cost, "reward_minus_cost": reward - cost}[by]
                weight *= 0.8 * (sigmoid(x) if continues else 1.0)
            total += weight * (3 * x + 1) if bootstrap else 0.0
            assert float(found[b, n]) == pytest.approx(total), (b, n)


def test_a_cost_is_read_without_any_reward_head():
    parts = agent(cost=Read(torch.square))
    del parts.heads["reward"]
    found = Imagination(parts).score(starts([2.0]), torch.zeros(1, 1, 1, 1).double(), sampling=Sampling(), by="cost")
    assert float(found) == pytest.approx(-(1.8**2))
    del parts.heads["cost"]
    with pytest.raises(KeyError, match="heads/cost"):
        Imagination(parts).score(starts([2.0]), plans(1, 1), sampling=Sampling(), by="cost")


def test_imagined_steps_are_counted():
    imagination = Imagination(agent(), chunk_rows=4)
    imagination.score(starts([0.0, 1.0]), plans(2, 5), sampling=Sampling(), particles=3)
    assert imagination.imagined == 2 * 5 * 3 * H
    imagination.rollout(starts([0.0, 1.0]), lambda *_: torch.zeros(2, 1).double(), 7, Sampling())
    assert imagination.imagined == 2 * 5 * 3 * H + 2 * 7


def test_a_value_of_actions_cannot_be_asked_without_an_actor():
    parts = agent(value=Read(lambda x, a: x + a, "before_action"))
    assert Imagination(parts).has_value
    parts.actor = None
    assert not Imagination(parts).has_value


@pytest.mark.parametrize("particles", [1, 2, 4])
def test_all_candidates_are_judged_by_the_same_members(particles: int):
    """Note 24: with fewer or more particles than members, no plan is scored by a member that others are spared."""
    actions = plans(2, 5)
    for rows in (1, 3, 2048):
        imagination = Imagination(agent(Decay(members=3)), chunk_rows=rows)
        found = imagination.score(starts([1.0, -0.5]), actions, sampling=Sampling(), particles=particles)
        for b, x in enumerate([1.0, -0.5]):
            for n in range(5):
                each = [by_hand(x, actions[b, n, :, 0].tolist(), 1.0, False, p % 3) for p in range(particles)]
                assert float(found[b, n]) == pytest.approx(sum(each) / particles), (rows, b, n)


def test_gradients_pass_through_scores():
    actions = plans(2, 3).requires_grad_()
    start = starts([1.0, 2.0])
    x = start.x.clone().requires_grad_()
    score = Imagination(agent(), chunk_rows=2).score(replace(start, x=x), actions, sampling=Sampling(), bootstrap=True)
    score.sum().backward()
    assert actions.grad is not None
    assert bool((actions.grad != 0).all())
    assert x.grad is not None

    def total(shift: float) -> float:
        moved = actions.detach().clone()
        moved[1, 2, 0, 0] += shift
        return by_hand(2.0, moved[1, 2, :, 0].tolist(), 1.0, True)

    numerical = (total(1e-6) - total(-1e-6)) / 2e-6
    assert float(actions.grad[1, 2, 0, 0]) == pytest.approx(numerical, rel=1e-6)


def test_a_value_that_reads_actions_is_asked_at_the_actors_mode():
    parts = agent(value=Read(lambda x, a: 10 * x + a, "before_action")).double()
    latent = starts([1.0, 2.0])
    action = torch.tanh(parts.actor.linear(latent.x))[:, 0]
    torch.testing.assert_close(Imagination(parts).value(latent), 10 * latent.x[:, 0] + action)


def test_mistakes_are_named():
    parts = agent()
    del parts.heads["value"], parts.heads["reward"]
    imagination = Imagination(parts)
    assert not imagination.has_value
    with pytest.raises(KeyError, match="heads/value"):
        imagination.value(starts([0.0]))
    with pytest.raises(KeyError, match="heads/reward"):
        imagination.score(starts([0.0]), plans(1, 2), sampling=Sampling())
    with pytest.raises(ValueError, match="horizon"):
        imagination.rollout(starts([0.0]), lambda *_: plans(1, 1)[:, 0, 0], 0, Sampling())
    with pytest.raises(ValueError, match=r"\(B, N, H, A\)"):
        imagination.score(starts([0.0, 1.0]), plans(1, 2), sampling=Sampling())
    with pytest.raises(ValueError, match="particle"):
        imagination.score(starts([0.0]), plans(1, 2), sampling=Sampling(), particles=0)


def test_noise_of_an_environment_is_its_own_in_any_batch_and_with_any_chunks():
    """Scores under noise: four environments together equal each alone, bit for bit."""
    from reverie.testing.toys import LinearDynamics, ToyHead

    torch.manual_seed(0)
    action = toy_action(size=2)
    dynamics = LinearDynamics(None, 6, action)
    parts = ToyAgent(action=action, dynamics=dynamics, heads={"reward": ToyHead(None, 4, action)})
    imagination = Imagination(parts, chunk_rows=6)
    latent = replace(dynamics.initial(4), x=torch.randn(4, 4))
    actions = torch.randn(4, 5, 3, 2)

    def generators(rows: range) -> Sampling:
        return Sampling(generators=[torch.Generator().manual_seed(100 + row) for row in rows])

    together = imagination.score(latent, actions, sampling=generators(range(4)), particles=2)
    for row in range(4):
        some = slice(row, row + 1)
        alone = imagination.score(latent[some], actions[some], sampling=generators(range(row, row + 1)), particles=2)
        torch.testing.assert_close(alone, together[some])
    assert not torch.allclose(
        together, imagination.score(latent, actions, sampling=generators(range(1, 5)), particles=2)
    )
