"""TD-MPC2's formulas by loops over floats: latents, rollouts with resets, losses, targets (notes 4, 12, 13, 24)."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Batch, Head, Sampling, Transition, View
from reverie.nn import simplicial
from reverie.testing.toys import ToyAgent, ToyHead, ToyNormal, toy_action, toy_batch
from reverie_plugins.tdmpc2.actor import PolicyPrior
from reverie_plugins.tdmpc2.config import (
    ImplicitConfig,
    PolicyPriorConfig,
    PolicyPriorLearnerConfig,
    QEnsembleConfig,
    TDMPC2Config,
)
from reverie_plugins.tdmpc2.dynamics import Implicit
from reverie_plugins.tdmpc2.head import QEnsemble
from reverie_plugins.tdmpc2.learner import TDMPC2
from reverie_plugins.tdmpc2.prior_learner import PolicyPriorLearner

ACTION = toy_action("continuous", 2)
F = 12
SMALL = {"units": 16, "layers": 1}


class Stepped(Head):
    """Member m of five expects the sum of the first simplex's entries, which is 1, times ten times m."""

    reads = "before_action"
    members = 5

    def __init__(self) -> None:
        super().__init__(None, F, ACTION)
        self.steps = nn.Parameter(10.0 * torch.arange(5))

    def forward(self, transition: Transition) -> ToyNormal:
        assert transition.before is not None
        one = transition.before.features[..., :4].sum(-1, keepdim=True)  # (*B, 1)
        return ToyNormal(one * self.steps, 1.0, 0)


class Sees(Head):
    """Expects `weight` times the state before plus `slope` times the action: an exact critic, to climb."""

    reads = "before_action"

    def __init__(self, weight: float = 0.0, slope: float = 1.0) -> None:
        super().__init__(None, F, ACTION)
        self.weight, self.slope = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(slope))

    def forward(self, transition: Transition) -> ToyNormal:
        assert transition.before is not None
        assert transition.action is not None
        state, action = transition.before.features[..., 0], transition.action[..., 0]
        return ToyNormal(self.weight * state + self.slope * action, 1.0, 0)


class BeforeHead(ToyHead):
    """A reward that reads the state left and the action."""

    reads = "before_action"

    def __init__(self) -> None:
        super().__init__(None, F + ACTION.size, ACTION)

    def forward(self, transition: Transition) -> ToyNormal:
        assert transition.before is not None
        x = torch.cat((transition.before.features, transition.action), -1)
        return ToyNormal(self.linear(x)[..., 0], 1.0, 0)


def agent_of(value: Head | None = None, **options: Any) -> ToyAgent:
    torch.manual_seed(0)
    dynamics = Implicit(ImplicitConfig(latent=F, group=4, **{**SMALL, **options}), 6, ACTION)
    q = QEnsemble(QEnsembleConfig(zero_init=False, **SMALL), F, ACTION)
    heads = {"reward": BeforeHead(), "continue": ToyHead(None, F, ACTION), "value": value or q}
    actor = PolicyPrior(PolicyPriorConfig(output_scale=1.0, **SMALL), F, ACTION)
    return ToyAgent(action=ACTION, dynamics=dynamics, heads=heads, actor=actor)


def prepared(
    agent: ToyAgent, batch: Batch | None = None, seed: int = 1, **options: Any
) -> tuple[TDMPC2, View, Rehearsal]:
    learner = TDMPC2(TDMPC2Config(**options).resolved([*agent.slots()]), agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(seed)])
    batch = batch or toy_batch(4, 7, action=ACTION)
    return learner, View(batch, agent, sampling), Rehearsal(agent, sampling, agent.imagination)


# -- latents -----------------------------------------------------------------------------------------------------------


def test_simplices_are_exponentials_over_their_sums() -> None:
    x = 3 * torch.randn(5, 2, 12, generator=torch.Generator().manual_seed(0))
    found = simplicial(x, 4)
    for index in ((0, 0), (4, 1)):
        row = x[index].tolist()
        for start in range(0, 12, 4):
            powers = [math.exp(value) for value in row[start : start + 4]]
            expected = [power / sum(powers) for power in powers]
            assert found[index][start : start + 4].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_transition_is_its_equations() -> None:
    """Linear, layer norm, mish, linear, layer norm, softmax over groups: by floats."""
    dynamics = agent_of().dynamics
    z, action = torch.rand(F), torch.tensor([0.3, -0.8])
    assert [block.activation for block in dynamics.hidden.hidden] == ["mish"]

    def dense(x: list[float], block: Any) -> list[float]:
        weight, gain, shift = (p.double().tolist() for p in (block.linear.weight, block.norm.weight, block.norm.bias))
        out = [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]
        mean = sum(out) / len(out)
        variance = sum((value - mean) ** 2 for value in out) / len(out) + 1e-3
        return [g * (o - mean) / math.sqrt(variance) + s for o, g, s in zip(out, gain, shift, strict=True)]

    hidden = [
        x * math.tanh(math.log1p(math.exp(x))) for x in dense([*z.tolist(), 0.3, -0.8], dynamics.hidden.hidden[0])
    ]
    logits = dense(hidden, dynamics.last)
    expected = []
    for start in range(0, F, 4):
        powers = [math.exp(value) for value in logits[start : start + 4]]
        expected += [power / sum(powers) for power in powers]
    state = type(dynamics.initial(1))(z[None])
    found = dynamics.imagine(state, action[None], Sampling(mode="mode")).z[0]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def rollout_by_loops(agent: ToyAgent, view: View) -> tuple[list[list[Tensor]], list[list[int]]]:
    """States predicted one by one from where each episode begins, and over how many steps."""
    batch, encoded, mode = view.batch, view.observed.states, Sampling(mode="mode")
    states, depths = [], []
    for b in range(batch.shape[0]):
        row, depth = [], []
        for t in range(batch.shape[1]):
            if t == 0 or bool(batch.is_first[b, t]):
                state, steps = encoded[b, t : t + 1], 0
            else:
                state, steps = agent.dynamics.imagine(state, batch.action[b, t : t + 1], mode), steps + 1
            row.append(state.z[0])
            depth.append(steps)
        states.append(row)
        depths.append(depth)
    return states, depths


def test_training_states_are_open_loop_rollouts_that_begin_anew_with_each_episode() -> None:
    agent = agent_of()
    _, view, _ = prepared(agent)
    assert view.batch.is_first[:, 1:].any(), "the batch has borders inside"
    expected, _ = rollout_by_loops(agent, view)
    torch.testing.assert_close(view.observed.train.z, torch.stack([torch.stack(row) for row in expected]))


@pytest.mark.parametrize("rho", [0.5, 1.0])
def test_consistency_is_a_loop_over_predictions_and_their_observations(rho: float) -> None:
    """20 rho^steps times the mean squared difference; where nothing was predicted, nothing. The mean of the loss is
    that over the T - 1 transitions of a chunk."""
    agent = agent_of(rho=rho)
    _, view, _ = prepared(agent)
    predicted, depths = rollout_by_loops(agent, view)
    B, T = view.shape
    found = agent.dynamics.losses(view)["consistency"]
    for b in range(B):
        for t in range(T):
            target = view.observed.states.z[b, t].tolist()
            squares = [(p - q) ** 2 for p, q in zip(predicted[b][t].tolist(), target, strict=True)]
            weight = 0.0 if depths[b][t] == 0 else 20 * rho ** (depths[b][t] - 1) * T / (T - 1)
            assert float(found[b, t].detach()) == pytest.approx(weight * sum(squares) / F, abs=1e-6)


def test_consistency_moves_predictions_and_not_what_they_are_held_to() -> None:
    agent = agent_of()
    embed = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
    batch = toy_batch(2, 3, action=ACTION, borders=False)
    view = View(batch, agent, Sampling(mode="mode"))
    view._embed = embed
    agent.dynamics.losses(view)["consistency"].mean().backward()
    assert bool(embed.grad[:, 0].any()), "the first observation is what is predicted from"
    assert not embed.grad[:, 1:].any(), "later ones are targets"


# -- losses of the learner ---------------------------------------------------------------------------------------------


def test_reward_value_and_continue_are_loops_over_transitions() -> None:
    """Each is read from the rollout, weighted by rho^steps (the continue head evenly), and 0 across a border."""
    agent = agent_of(value=Stepped())
    learner, view, ctx = prepared(agent, reward_scale=0.3, value_scale=0.7, continue_scale=2.0)
    target = learner.target(view, prepared(agent)[2])  # the same noise
    losses = learner.losses(view, ctx)
    states, depths = rollout_by_loops(agent, view)
    half_log_tau = 0.5 * math.log(2 * math.pi)
    B, T = view.shape
    for b in range(B):
        for t in range(1, T):
            before, action, first = states[b][t - 1], view.batch.action[b, t], bool(view.batch.is_first[b, t])
            weight = 0.0 if first else 0.5 ** depths[b][t - 1]
            expected = float(agent.heads["reward"].linear(torch.cat((before, action)))[0].detach())
            nll = 0.5 * (expected - float(view.batch.reward[b, t])) ** 2 + half_log_tau
            assert float(losses["reward"][b, t - 1].detach()) == pytest.approx(0.3 * weight * nll, abs=1e-5)
            each = [0.5 * (10 * m - float(target[b, t - 1])) ** 2 + half_log_tau for m in range(5)]
            assert float(losses["value"][b, t - 1].detach()) == pytest.approx(0.7 * weight * sum(each) / 5, rel=1e-4)
            goes_on = float(agent.heads["continue"].linear(states[b][t])[0].detach())
            told = 0.5 * (goes_on - float(view.batch.cont[b, t])) ** 2 + half_log_tau
            assert float(losses["continue"][b, t - 1].detach()) == pytest.approx(0.0 if first else 2 * told, abs=1e-5)


def test_the_mean_of_a_loss_is_the_papers_average_over_the_horizon() -> None:
    """Without borders: 1 / H sum_t rho^t of the batch means, H transitions."""
    agent = agent_of()
    batch = toy_batch(4, 4, action=ACTION, borders=False)
    learner, view, ctx = prepared(agent, batch)
    losses = learner.losses(view, ctx)
    reward = agent.heads["reward"](Transition(view.observed.train[:, :-1], batch.action[:, 1:], None))
    by_step = -reward.log_prob(batch.reward[:, 1:]).mean(0)  # (3,)
    expected = 0.1 * sum(0.5**t * float(by_step[t]) for t in range(3)) / 3
    assert float(losses["reward"].mean()) == pytest.approx(expected, rel=1e-5)
    error = (view.observed.train.z - view.observed.states.z).square().mean(-1).mean(0)  # (4,)
    expected = 20 * sum(0.5**t * float(error[t + 1]) for t in range(3)) / 3
    assert float(losses["dynamics/consistency"].mean()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("own", "expected"), [(None, 0.8), (0.25, 0.25)])
def test_one_rho_serves_dynamics_and_learners_unless_a_learner_has_its_own(own: float | None, expected: float) -> None:
    agent = agent_of(rho=0.8)
    batch = toy_batch(4, 4, action=ACTION, borders=False)
    learner, view, ctx = prepared(agent, batch, reward_scale=1.0, rho=own)
    reward = agent.heads["reward"](Transition(view.observed.train[:, :-1], batch.action[:, 1:], None))
    shares = learner.losses(view, ctx)["reward"] / -reward.log_prob(batch.reward[:, 1:])  # (4, 3)
    assert shares[0].tolist() == pytest.approx([1.0, expected, expected**2], rel=1e-4)
    loss = policy_loss(agent, entropy=0.0, rho=own)[0]
    even = policy_loss(agent, entropy=0.0, rho=1.0)[0]
    assert float(loss[0, 1] / even[0, 1]) == pytest.approx(expected, rel=1e-4)


def test_over_a_dynamics_without_rho_it_is_the_papers_half() -> None:
    agent = ToyAgent(action=ACTION, heads={"reward": BeforeHead(), "value": agent_of().heads["value"]})
    assert TDMPC2(TDMPC2Config().resolved([*agent.slots()]), agent).rho == 0.5


def test_the_q_heads_are_two_hot_with_101_bins_in_symlog_space() -> None:
    """Each member's cross entropy to the split of symlog(target) between neighbours, by linear search in float64."""
    head = QEnsemble(QEnsembleConfig(zero_init=False, dropout=0.0, **SMALL), F, ACTION)
    before = agent_of().dynamics.initial(3)
    told = head(Transition(before=before, action=torch.randn(3, 2).clamp(-1, 1), after=None))
    bins = [-10 + 0.2 * k for k in range(101)]
    for row, value in enumerate([-731.5, 0.04, 1e9]):
        place = min(max(math.copysign(math.log1p(abs(value)), value), -10), 10)
        k = max(j for j in range(100) if bins[j] <= place + 1e-12)
        share = (place - bins[k]) / (bins[k + 1] - bins[k])
        for m in range(5):
            logs = torch.log_softmax(told.logits[row, m].double(), 0).tolist()
            found = told.log_prob(torch.full((3, 5), value))[row, m]
            assert float(found) == pytest.approx((1 - share) * logs[k] + share * logs[k + 1], abs=2e-3)
            mean = sum(math.exp(p) * b for p, b in zip(logs, bins, strict=True))
            assert float(told.mean[row, m]) == pytest.approx(
                math.copysign(math.expm1(abs(mean)), mean), rel=1e-3, abs=1e-3
            )


# -- the target --------------------------------------------------------------------------------------------------------


def ends() -> Batch:
    """One row: a true end on arrival at step 2, a new episode, a time limit at step 5."""
    batch = toy_batch(1, 6, action=ACTION, borders=False)
    flags = {name: torch.zeros(1, 6, dtype=torch.bool) for name in ("is_first", "is_last", "is_terminal")}
    flags["is_terminal"][0, 2] = flags["is_last"][0, 2] = flags["is_first"][0, 3] = flags["is_last"][0, 5] = True
    return Batch(**{**batch.__dict__, **flags})


def test_targets_are_rewards_and_the_smaller_of_two_slow_values() -> None:
    """Values are 0, 10, ... 40 by member: the answer tells which two were asked. Over draws, the smaller of two of five
    is member 0, 1, 2, 3 with chances 4, 3, 2, 1 in 10, and never member 4."""
    agent, batch = agent_of(value=Stepped()), ends()
    seen: Counter[int] = Counter()
    for seed in range(200):
        learner, view, ctx = prepared(agent, batch, seed, discount=0.9)
        target = learner.target(view, ctx)[0]  # (5,)
        smaller = round((float(target[0]) - float(batch.reward[0, 1])) / 9)
        seen[smaller] += 1
        for t in range(5):
            following = 0.0 if t + 1 == 2 else 0.9 * 10 * smaller
            assert float(target[t]) == pytest.approx(float(batch.reward[0, t + 1]) + following, abs=1e-4)
    assert set(seen) == {0, 1, 2, 3}
    assert [seen[m] / 200 for m in range(4)] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.11)


def test_targets_are_those_of_the_slow_copy_which_follows_slowly() -> None:
    agent = agent_of(value=Sees(weight=0.0, slope=0.0))
    learner, view, ctx = prepared(agent)
    with torch.no_grad():
        agent.heads["value"].weight.fill_(50.0)
    torch.testing.assert_close(learner.target(view, ctx), view.batch.reward[:, 1:])
    learner.after_step(ctx)
    assert float(learner.slow.module.weight) == pytest.approx(0.5)


def test_targets_look_at_encoded_states_and_draws_of_the_policy() -> None:
    """Q = z_0 of the encoded next state (not of the predicted one) plus the action that the policy draws there."""
    agent = agent_of(value=Sees(weight=3.0, slope=2.0))
    learner, view, ctx = prepared(agent, discount=0.5)
    found = learner.target(view, ctx)
    again = Sampling(generators=[torch.Generator().manual_seed(1)])
    view.observed  # noqa: B018 - the filtering pass draws nothing
    states = view.observed.states[:, 1:]
    drawn = again.draw(agent.actor.policy(states))
    value = 3 * states.z[..., 0] + 2 * drawn[..., 0]
    torch.testing.assert_close(
        found, (view.batch.reward + 0.5 * view.batch.cont * nn.functional.pad(value, (1, 0)))[:, 1:]
    )


def test_plans_are_continued_by_the_mean_of_all_heads_at_the_likeliest_action() -> None:
    agent = agent_of(value=Stepped())
    assert agent.imagination.has_value
    torch.testing.assert_close(agent.imagination.value(agent.dynamics.initial(3)), torch.full((3,), 20.0))
    agent = agent_of(value=Sees(weight=0.0, slope=1.0))
    state = agent.dynamics.initial(3)
    likeliest = torch.tanh(agent.actor.net(state)[..., 0])
    torch.testing.assert_close(agent.imagination.value(state), likeliest)


# -- the policy --------------------------------------------------------------------------------------------------------


def test_the_policy_is_a_squashed_normal_with_a_bounded_deviation() -> None:
    agent = agent_of()
    policy = agent.actor.policy(agent.dynamics.initial(1))
    mean, raw = agent.actor.net(agent.dynamics.initial(1))[0].split(2)
    for entry in range(2):
        log_std = -10 + 0.5 * 12 * (math.tanh(float(raw[entry])) + 1)
        normal = torch.distributions.Normal(mean[entry].double(), torch.tensor(math.exp(log_std)).double())
        assert float(policy.base.std[0, entry]) == pytest.approx(math.exp(log_std), rel=1e-4)
        assert float(policy.base.mean[0, entry]) == pytest.approx(float(normal.mean), rel=1e-5)
    assert policy.mode.tolist() == torch.tanh(mean)[None].tolist()


def policy_loss(agent: ToyAgent, **options: Any) -> tuple[Tensor, View, PolicyPriorLearner]:
    learner = PolicyPriorLearner(PolicyPriorLearnerConfig(**options), agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    view = View(toy_batch(4, 7, action=ACTION), agent, sampling)
    return learner.losses(view.detach(), Rehearsal(agent, sampling, agent.imagination))["actor"], view, learner


def test_the_policy_loss_is_a_loop_over_states() -> None:
    """-rho^steps (Q / max(1, S) + entropy * A * H) at draws of the policy, S from the first states alone."""
    agent = agent_of(value=Sees(weight=200.0, slope=7.0))
    agent.actor.config = agent.actor.config.model_copy(update={"max_log_std": 0.0})  # where quadrature is exact enough
    found, view, learner = policy_loss(agent, entropy=0.3, scale_decay=0.0)
    with torch.no_grad():
        states, depths = rollout_by_loops(agent, view)
        policy = agent.actor.policy(view.observed.train)
    drawn = Sampling(generators=[torch.Generator().manual_seed(1)]).draw(policy)  # (4, 7, 2)
    value = [[200 * float(states[b][t][0].detach()) + 7 * float(drawn[b, t, 0]) for t in range(7)] for b in range(4)]
    first = torch.tensor([row[0] for row in value], dtype=torch.float64)
    spread = float(first.quantile(0.95) - first.quantile(0.05))
    assert spread > 1
    assert float(learner.scale.range()) == pytest.approx(spread, rel=1e-4)
    for b in range(4):
        for t in range(7):
            # The entropy in nats, by a sum over a fine grid of the squashed density.
            entropy = 0.0
            for entry in range(2):
                mean, std = (float(x[b, t, entry]) for x in (policy.base.mean, policy.base.std))
                normal = torch.distributions.Normal(torch.tensor(mean).double(), torch.tensor(std).double())
                x = mean + std * torch.linspace(-9, 9, 4001, dtype=torch.float64)
                log_density = normal.log_prob(x) + 2 * torch.cosh(x).log()
                entropy -= float((normal.log_prob(x).exp() * log_density).sum() * std * 18 / 4000)
            gain = value[b][t] / spread + 0.3 * 2 * entropy
            assert float(found[b, t].detach()) == pytest.approx(-(0.5 ** depths[b][t]) * gain, rel=1e-3, abs=3e-3)


def test_a_narrow_range_of_values_is_not_blown_up() -> None:
    agent = agent_of(value=Sees(weight=0.0, slope=1e-3))
    found, _, learner = policy_loss(agent, entropy=0.0)
    assert float(learner.scale.divisor()) == 1.0
    assert float(found.detach().abs().max()) < 1.01e-3


# -- who is trained by what (note 13) ----------------------------------------------------------------------------------


def touched(agent: ToyAgent) -> set[str]:
    return {
        slot
        for slot in agent.slots()
        if any(p.grad is not None and bool(p.grad.any()) for p in agent.module(slot).parameters())
    }


@pytest.mark.parametrize(
    ("loss", "own"),
    [("dynamics/consistency", set()), ("reward", {"heads/reward"}), ("value", {"heads/value"}),
     ("continue", {"heads/continue"})],
)  # fmt: skip
def test_each_loss_of_the_model_reaches_encoder_and_dynamics(loss: str, own: set[str]) -> None:
    agent = agent_of()
    learner, view, ctx = prepared(agent)
    learner.losses(view, ctx)[loss].mean().backward()
    assert touched(agent) == {"encoder", "dynamics"} | own
    assert all(p.grad is None for p in learner.slow.parameters())


def test_the_policy_loss_trains_the_policy_alone() -> None:
    agent = agent_of()
    found, _, _ = policy_loss(agent)
    found.mean().backward()
    assert touched(agent) == {"actor"}
    assert all(p.requires_grad for p in agent.parameters())
