"""The toys' own answers, by hand and by other routes."""

import pytest
import torch

from reverie.contracts import Sampling, Trajectory, View
from reverie.testing.toy_distributions import ToyNormal, ToyOneHot
from reverie.testing.toy_dynamics import LinearEnsemble
from reverie.testing.toys import (
    LinearDynamics,
    PointMass,
    ToyAgent,
    point_latent,
    toy_action,
    toy_batch,
    toy_observation,
)


def test_a_batch_is_arrival_aligned() -> None:
    batch = toy_batch(6, 9, seed=3)
    assert batch.shape == (6, 9)
    assert batch.is_first[:, 1:].any()
    assert torch.equal(batch.is_last[:, :-1], batch.is_first[:, 1:])
    assert not (batch.is_terminal & ~batch.is_last).any()
    assert (batch.action[batch.is_first] == 0).all()
    assert (batch.action[~batch.is_first].abs().sum(-1) > 0).all()
    assert (batch.reward[batch.is_first] == 0).all()
    assert batch.step_id.unique().numel() == 54


def test_a_discrete_batch_is_one_hot_and_images_are_raw() -> None:
    batch = toy_batch(2, 5, toy_observation(image=True), toy_action("discrete", 4))
    assert set(batch.action.sum(-1).unique().tolist()) == {0.0, 1.0}
    assert batch.obs["camera"].shape == (2, 5, 8, 12, 3)
    assert batch.obs["camera"].dtype == torch.uint8


def test_preprocessing_and_back() -> None:
    agent = ToyAgent(toy_observation(image=True))
    raw = toy_batch(2, 3, agent.observation).obs
    seen = agent.preprocess(raw)
    assert seen["camera"].shape == (2, 3, 3, 8, 12)
    assert float(seen["camera"].max()) <= 1.0
    back = agent.postprocess(seen)
    torch.testing.assert_close(back["camera"], raw["camera"].float())


def test_the_linear_model_filters_as_written_out_by_hand() -> None:
    torch.manual_seed(0)
    dynamics = LinearDynamics(None, 6, toy_action())
    embed, action = torch.randn(1, 2, 6), torch.randn(1, 2, 2)
    first = torch.tensor([[True, False]])
    observed = dynamics.observe(embed, action, first, sampling=Sampling("mode"))
    A, b = dynamics.transition.weight[:, :4], dynamics.transition.weight[:, 4:]
    K, k = dynamics.correction.weight, dynamics.correction.bias
    prior = dynamics.transition.bias  # nothing before: state and action are 0
    post = prior + K @ torch.cat([embed[0, 0], prior]) + k
    torch.testing.assert_close(observed.states.x[0, 0], post)
    prior = A @ post + b @ action[0, 1] + dynamics.transition.bias
    torch.testing.assert_close(observed.priors.x[0, 1], prior)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_best_action_of_the_point_mass_beats_every_other_one(kind: str) -> None:
    action = toy_action(kind, 3)
    world = PointMass(action)
    starts = world.starts(8)
    best = world.best_action(starts)
    stay = torch.eye(3)[1] if action.is_discrete else torch.zeros(3)
    others = torch.eye(3) if action.is_discrete else torch.rand(200, 3) * 2 - 1
    firsts = torch.cat([best[:, None], others.expand(8, -1, 3)], 1)  # (B, N, A)
    plans = torch.stack([firsts, stay.expand_as(firsts)], 2)  # (B, N, H, A)
    scores = world.score(starts, plans, sampling=Sampling())
    assert (scores[:, 0] >= scores[:, 1:].max(1).values - 1e-6).all()
    torch.testing.assert_close(scores[:, 0], torch.zeros(8))


def test_point_mass_returns_by_hand() -> None:
    world = PointMass(toy_action("continuous", 1))
    states = point_latent(torch.tensor([[[0.0], [0.5], [1.0]]]))
    trajectory = Trajectory(states, torch.ones(1, 2, 1))
    # rewards -0.25 and -1; discounted by 0.5; value of the last state -1 after two steps
    torch.testing.assert_close(world.returns(trajectory, 0.5), torch.tensor([-0.75]))
    torch.testing.assert_close(world.returns(trajectory, 0.5, bootstrap=True), torch.tensor([-1.0]))
    torch.testing.assert_close(
        world.score(states[:, 0], torch.ones(1, 1, 2, 1), sampling=Sampling(), discount=0.5), torch.tensor([[-0.75]])
    )


def test_scores_that_are_not_a_number_become_minus_infinity() -> None:
    world = PointMass(toy_action("continuous", 1), nan_above=0.5)
    plans = torch.tensor([[[[0.4]], [[0.9]]]])
    scores = world.score(point_latent(torch.zeros(1, 1)), plans, sampling=Sampling())
    assert scores[0, 1] == -torch.inf
    assert torch.isfinite(scores[0, 0])


def test_distributions_agree_with_torch() -> None:
    mean, value = torch.randn(3, 4), torch.randn(3, 4)
    reference = torch.distributions.Independent(torch.distributions.Normal(mean, 0.3), 1)
    torch.testing.assert_close(ToyNormal(mean, 0.3).log_prob(value), reference.log_prob(value))
    torch.testing.assert_close(ToyNormal(mean, 0.3).entropy(), reference.entropy())
    logits = torch.randn(3, 4)
    categorical = torch.distributions.OneHotCategorical(logits=logits)
    chosen = categorical.sample()
    torch.testing.assert_close(ToyOneHot(logits).log_prob(chosen), categorical.log_prob(chosen))
    torch.testing.assert_close(ToyOneHot(logits).entropy(), categorical.entropy())


def test_one_hot_draws_follow_their_probabilities_and_are_exactly_one_hot() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(20_000, 3).clone().requires_grad_()
    drawn = ToyOneHot(logits).draw(Sampling(generators=[torch.Generator().manual_seed(0)]))
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.detach().mean(0), torch.tensor([0.2, 0.5, 0.3]), atol=0.015, rtol=0.0)
    (drawn * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) > 0


def test_members_of_the_ensemble_belong_to_copies() -> None:
    dynamics = LinearEnsemble(None, 6, toy_action())
    branched = dynamics.branch(dynamics.initial(2), 4)
    assert branched.member.tolist() == [0, 1, 2, 0, 0, 1, 2, 0]


def test_the_view_of_a_toy_agent() -> None:
    agent = ToyAgent()
    view = View(toy_batch(), agent, Sampling())
    losses = agent.dynamics.losses(view)
    assert {name: tuple(value.shape) for name, value in losses.items()} == {"dyn": (3, 7), "rep": (3, 7)}
    with pytest.raises(KeyError, match="this agent has encoder"):
        agent.module("nothing")
