"""The losses of `dreamer` against loops over Python floats (notes 14 to 18), on a toy model without noise."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Actor, Dynamics, Head, Latent, Observed, Sampling, Transition, View
from reverie.testing.toys import ToyAgent, ToyNormal, ToyOneHot, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.learner import ActorCritic

B, T, H = 3, 5, 4
DISCOUNT, LAM, ENTROPY = 0.9, 0.8, 0.05


@dataclass(frozen=True)
class Number(Latent):
    x: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


class Adds(Dynamics[Number]):
    """x' = w x + a_0. Filtered states are the rows' numbers, whatever was observed."""

    feature_size = code_size = 1

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.w = nn.Parameter(torch.tensor(0.7).double())

    def initial(self, batch_size: int) -> Number:
        return Number(torch.zeros(batch_size, 1).double())

    def observe(self, embed: Any, action: Any, is_first: Tensor, state: Any = None, *, sampling: Any) -> Any:
        x = torch.arange(is_first.numel()).reshape(*is_first.shape, 1).double() / 10 * self.w
        states = Number(x)
        return Observed(states=states, priors=states, train=states, last=states[:, -1])

    def imagine(self, state: Number, action: Tensor, sampling: Sampling) -> Number:
        return Number(self.w * state.x + action[..., :1])

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}


class Scaled(Head):
    """A unit normal around `p * x`, or with `logistic` a number sigmoid(p + x / 4)."""

    def __init__(self, p: float, logistic: bool = False) -> None:
        nn.Module.__init__(self)
        self.p, self.logistic = nn.Parameter(torch.tensor(p).double()), logistic

    def forward(self, transition: Transition) -> Any:
        x = transition.after.features[..., 0]
        return ToyNormal(torch.sigmoid(self.p + x / 4) if self.logistic else self.p * x, 1.0, 0)


class Linear(Actor):
    """Continuous: a normal (std 0.1) around `k x`. Discrete: logits (k x, 0)."""

    def __init__(self, discrete: bool) -> None:
        nn.Module.__init__(self)
        self.k, self.discrete = nn.Parameter(torch.tensor(-0.3).double()), discrete

    def policy(self, latent: Latent) -> Any:
        mean = self.k * latent.features
        return ToyOneHot(torch.cat([mean, 0 * mean], -1)) if self.discrete else ToyNormal(mean, 0.1)


def make(kind: str, repeat: int = 1, **options: Any) -> tuple[ToyAgent, ActorCritic, View, Rehearsal]:
    action = replace(toy_action(kind, 2 if kind == "discrete" else 1), repeat=repeat)
    heads = {"reward": Scaled(2.0), "continue": Scaled(1.0, logistic=True), "value": Scaled(0.5)}
    agent = ToyAgent(action=action, dynamics=Adds(), heads=heads, actor=Linear(kind == "discrete")).double()
    chosen = {
        "horizon": H,
        "discount": DISCOUNT,
        "lam": LAM,
        "entropy": ENTROPY,
        "starts": None,
        "gradient": "auto",
        **options,
    }
    learner = ActorCritic(DreamerConfig(**chosen).resolved(agent.slots()), agent).double()
    with torch.no_grad():
        learner.slow.module.p.fill_(0.4)  # moved away, so that the slow copy and the critic are told apart
    sampling = Sampling(generators=[torch.Generator().manual_seed(5)])
    return (
        agent,
        learner,
        View(toy_batch(B, T, action=action), agent, sampling),
        Rehearsal(agent, sampling, agent.imagination),
    )


@dataclass
class Reference:
    """Everything about one imagined trajectory, as lists of floats."""

    x: list[float]
    actions: list[list[float]]
    returns: list[float]
    weights: list[float]
    values: list[float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def reference(start: float, alive: float, actions: list[list[float]], *, critic: float = 0.5) -> Reference:
    x, weights, weight = [start], [], alive
    for action in actions:
        x.append(0.7 * x[-1] + action[0])
    cont = [sigmoid(1.0 + one / 4) for one in x]
    values = [critic * one for one in x]
    returns, latest = [0.0] * H, values[H]
    for t in reversed(range(H)):
        latest = 2 * x[t + 1] + DISCOUNT * cont[t + 1] * ((1 - LAM) * values[t + 1] + LAM * latest)
        returns[t] = latest
    for t in range(H):
        weights.append(weight)
        weight *= DISCOUNT * cont[t + 1]
    return Reference(x, actions, returns, weights, values)


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def recorded(learner: ActorCritic, view: View, ctx: Rehearsal, kind: str) -> tuple[dict[str, Tensor], Tensor]:
    """The losses, and the actions that were imagined for them (drawn again from the same noise)."""
    generator = ctx.sampling.generators[0]
    state = generator.get_state()
    losses = learner.losses(view, ctx)
    generator.set_state(state)
    start = view.observed.states.detach().flatten()
    with torch.no_grad():
        trajectory = ctx.imagination.rollout(
            start, lambda latent, noise: noise.draw(ctx.agent.actor.policy(latent)), H, ctx.sampling
        )
    return losses, trajectory.actions


def rows(agent: ToyAgent, view: View, actions: Tensor, critic: float = 0.5) -> list[Reference]:
    alive = view.batch.cont.flatten()
    x = view.observed.states.x.detach().flatten()
    assert bool((alive == 0).any())
    return [reference(float(x[i]), float(alive[i]), actions[i].tolist(), critic=critic) for i in range(B * T)]


def scale_of(found: list[Reference], decay: float = 0.99) -> float:
    flat = [one for row in found for one in row.returns]
    return max(1.0, (1 - decay) * (quantile(flat, 0.95) - quantile(flat, 0.05)))


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("decay", [0.99, 0.0])
def test_reinforce(kind: str, decay: float):
    agent, learner, view, ctx = make(kind, gradient="reinforce", return_decay=decay)
    losses, actions = recorded(learner, view, ctx, kind)
    found = rows(agent, view, actions)
    scale = scale_of(found, decay)
    assert (scale > 1) == (decay == 0)
    for i, row in enumerate(found):
        for t in range(H):
            mean = -0.3 * row.x[t]
            if kind == "discrete":
                p = sigmoid(mean)
                log_prob = math.log(p if row.actions[t][0] > 0.5 else 1 - p)
                entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
            else:
                z = (row.actions[t][0] - mean) / 0.1
                log_prob = -0.5 * z * z - math.log(0.1 * math.sqrt(2 * math.pi))
                entropy = 0.5 * math.log(2 * math.pi * math.e * 0.01)
            advantage = (row.returns[t] - row.values[t]) / scale
            wanted = -row.weights[t] * (log_prob * advantage + ENTROPY * entropy)
            assert losses["actor"][i, t].item() == pytest.approx(wanted, rel=1e-5, abs=1e-7), (i, t)


def test_the_log_probability_is_that_of_the_draw_before_any_clipping():
    """Note 17: a policy whose draws lie beyond the bounds, where the density of a clipped action is another one."""
    agent, learner, view, ctx = make("continuous", gradient="reinforce", entropy=0.0, scale_returns=False)
    with torch.no_grad():
        agent.actor.k.fill_(-3.0)
    losses, actions = recorded(learner, view, ctx, "continuous")
    assert float((actions.abs() > 1).double().mean()) > 0.3
    for i, row in enumerate(rows(agent, view, actions)):
        for t in range(H):
            z = (row.actions[t][0] + 3.0 * row.x[t]) / 0.1
            log_prob = -0.5 * z * z - math.log(0.1 * math.sqrt(2 * math.pi))
            wanted = -row.weights[t] * log_prob * (row.returns[t] - row.values[t])
            assert float(losses["actor"][i, t]) == pytest.approx(wanted, rel=1e-3, abs=1e-4), (i, t)


@pytest.mark.parametrize("baseline", [True, False])
@pytest.mark.parametrize("decay", [0.99, 0.0])
def test_through_the_dynamics(baseline: bool, decay: float):
    agent, learner, view, ctx = make("continuous", baseline=baseline, return_decay=decay)
    assert not learner.reinforce
    losses, actions = recorded(learner, view, ctx, "continuous")
    found = rows(agent, view, actions)
    scale, entropy = scale_of(found, decay), 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert (scale > 1) == (decay == 0)
    for i, row in enumerate(found):
        for t in range(H):
            gain = row.returns[t] - (row.values[t] if baseline else 0.0)
            wanted = -row.weights[t] * (gain / scale + ENTROPY * entropy)
            assert losses["actor"][i, t].item() == pytest.approx(wanted, rel=1e-5, abs=1e-7), (i, t)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize(("targets", "critic"), [("online", 0.5), ("slow", 0.4)])
@pytest.mark.parametrize("regulariser", [0.0, 2.0])
def test_the_critic_follows_returns_and_its_slow_copy(kind: str, targets: str, critic: float, regulariser: float):
    agent, learner, view, ctx = make(kind, targets=targets, slow_regulariser=regulariser)
    losses, actions = recorded(learner, view, ctx, kind)
    constant = 0.5 * math.log(2 * math.pi)
    for i, row in enumerate(rows(agent, view, actions, critic)):
        for t in range(H):
            online, slow = 0.5 * row.x[t], 0.4 * row.x[t]
            loss = 0.5 * (row.returns[t] - online) ** 2 + constant
            loss += regulariser * (0.5 * (slow - online) ** 2 + constant)
            assert losses["critic"][i, t].item() == pytest.approx(row.weights[t] * loss, rel=1e-5, abs=1e-7), (i, t)


def test_the_gradient_of_the_actor_through_the_dynamics_is_the_numerical_one():
    """d loss / d k by finite differences of a loop in which the policy's own inputs stay where they were."""
    agent, learner, view, ctx = make("continuous", baseline=False, scale_returns=False, entropy=0.0)
    losses, actions = recorded(learner, view, ctx, "continuous")
    losses["actor"].sum().backward()
    found = rows(agent, view, actions)
    noise = [[row.actions[t][0] - (-0.3) * row.x[t] for t in range(H)] for row in found]

    def total(k: float) -> float:
        loss = 0.0
        for row, drawn in zip(found, noise, strict=True):
            # The policy reads the states of the unperturbed trajectory: its inputs carry no gradient.
            moved = [[k * row.x[t] + drawn[t]] for t in range(H)]
            after = reference(row.x[0], row.weights[0], moved)
            loss -= sum(weight * one for weight, one in zip(row.weights, after.returns, strict=True))
        return loss

    numerical = (total(-0.3 + 1e-6) - total(-0.3 - 1e-6)) / 2e-6
    assert float(agent.actor.k.grad) == pytest.approx(numerical, rel=1e-5)
    for slot in ("dynamics", "heads/reward", "heads/continue", "heads/value"):
        assert all(parameter.grad is None for parameter in agent.module(slot).parameters()), slot


def test_reinforce_gives_the_score_function_gradient():
    agent, learner, view, ctx = make("discrete", scale_returns=False, entropy=0.0)
    losses, actions = recorded(learner, view, ctx, "discrete")
    losses["actor"].sum().backward()
    wanted = 0.0
    for row in rows(agent, view, actions):
        for t in range(H):
            p = sigmoid(-0.3 * row.x[t])
            slope = ((1 - p) if row.actions[t][0] > 0.5 else -p) * row.x[t]  # d log pi / d k
            wanted -= row.weights[t] * slope * (row.returns[t] - row.values[t])
    assert float(agent.actor.k.grad) == pytest.approx(wanted, rel=1e-5)
    assert agent.dynamics.w.grad is None


def test_a_state_behind_a_true_end_counts_nothing():
    _agent, learner, view, ctx = make("discrete")
    losses = learner.losses(view, ctx)
    ended = view.batch.is_terminal.flatten()
    assert bool(ended.any())
    for loss in losses.values():
        assert torch.equal(loss[ended], torch.zeros_like(loss[ended]))
        assert bool((loss[~ended] != 0).all())


def test_the_slow_copy_moves_by_its_rate_after_each_step():
    agent, learner, _view, ctx = make("discrete", slow_rate=0.25)
    with torch.no_grad():
        agent.heads["value"].p.fill_(0.8)
    learner.after_step(ctx)
    assert float(learner.slow.module.p) == pytest.approx(0.4 + 0.25 * 0.4)
    assert not learner.slow.module.p.requires_grad


def test_the_return_range_is_saved_with_the_learner():
    _agent, learner, view, ctx = make("discrete")
    learner.losses(view, ctx)
    state = learner.state_dict()
    assert float(state["scale.high"]) != 0
    _agent, other, _view, _ctx = make("discrete")
    other.load_state_dict(state)
    assert float(other.scale.range()) == float(learner.scale.range())


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize(("targets", "critic"), [("online", 0.5), ("slow", 0.4)])
@pytest.mark.parametrize("replay_discount", [None, 0.6])
def test_the_critic_on_replayed_states(kind: str, targets: str, critic: float, replay_discount: float | None):
    """Real rewards and flags, each state's imagined return as its anchor, and the slow copy as regulariser."""
    options = {"replay_value": 0.3, "replay_discount": replay_discount, "slow_regulariser": 2.0}
    agent, learner, view, ctx = make(kind, targets=targets, **options)
    losses, actions = recorded(learner, view, ctx, kind)
    found = rows(agent, view, actions, critic)
    discount, constant = replay_discount or DISCOUNT, 0.5 * math.log(2 * math.pi)
    assert losses["replay_critic"].shape == (B, T - 1)
    assert bool(view.batch.is_last[:, :-1].any())
    for b in range(B):
        anchor = [found[b * T + t].returns[0] for t in range(T)]
        latest = anchor[-1]
        for t in reversed(range(T - 1)):
            lam = 0.0 if view.batch.is_last[b, t + 1] else LAM
            alive = 0.0 if view.batch.is_terminal[b, t + 1] else 1.0
            latest = float(view.batch.reward[b, t + 1]) + discount * alive * ((1 - lam) * anchor[t + 1] + lam * latest)
            x = found[b * T + t].x[0]
            loss = 0.5 * (latest - 0.5 * x) ** 2 + constant + 2.0 * (0.5 * (0.4 * x - 0.5 * x) ** 2 + constant)
            wanted = 0.0 if view.batch.is_last[b, t] else 0.3 * loss
            assert losses["replay_critic"][b, t].item() == pytest.approx(wanted, rel=1e-5, abs=1e-7), (b, t)


@pytest.mark.parametrize("into_model", [True, False])
def test_the_gradient_of_the_loss_on_replayed_states(into_model: bool):
    """Only the prediction 0.5 x carries one: d/dp = -(R - v) x, and with x = c w also d/dw = -(R - v) p c."""
    agent, learner, view, ctx = make(
        "discrete", replay_value=1.0, replay_value_into_model=into_model, slow_regulariser=0.0
    )
    losses, actions = recorded(learner, view, ctx, "discrete")
    losses["replay_critic"].sum().backward()
    found, p_slope, w_slope = rows(agent, view, actions), 0.0, 0.0
    for b in range(B):
        latest = found[b * T + T - 1].returns[0]
        for t in reversed(range(T - 1)):
            lam, alive = LAM * (1 - float(view.batch.is_last[b, t + 1])), 1 - float(view.batch.is_terminal[b, t + 1])
            anchor = found[b * T + t + 1].returns[0]
            latest = float(view.batch.reward[b, t + 1]) + DISCOUNT * alive * ((1 - lam) * anchor + lam * latest)
            if not view.batch.is_last[b, t]:
                x = found[b * T + t].x[0]
                p_slope -= (latest - 0.5 * x) * x
                w_slope -= (latest - 0.5 * x) * 0.5 * x / 0.7
    assert float(agent.heads["value"].p.grad) == pytest.approx(p_slope, rel=1e-5)
    if into_model:
        assert float(agent.dynamics.w.grad) == pytest.approx(w_slope, rel=1e-5)
    else:
        assert agent.dynamics.w.grad is None


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_continue_by_mode_is_one_or_zero(kind: str):
    """As the code of 2023 has it: above one half the episode goes on, else it ends, and no gradient passes."""
    agent, learner, view, ctx = make(kind, continues="mode", baseline=False, scale_returns=False, entropy=0.0)
    with torch.no_grad():
        agent.heads["continue"].p.fill_(-0.05)  # sigmoid(-0.05 + x / 4): some states end, others go on
    losses, actions = recorded(learner, view, ctx, kind)
    seen = set()
    for i, (x, alive) in enumerate(
        zip(view.observed.states.x.detach().flatten().tolist(), view.batch.cont.flatten().tolist(), strict=True)
    ):
        path, weights = [x], [alive]
        for t in range(H):
            path.append(0.7 * path[-1] + float(actions[i, t, 0]))
            weights.append(weights[-1] * DISCOUNT * float(path[-1] / 4 > 0.05))
            seen.add(path[-1] / 4 > 0.05)
        latest, constant = 0.5 * path[H], 0.5 * math.log(2 * math.pi)
        for t in reversed(range(H)):
            going = float(path[t + 1] / 4 > 0.05)
            latest = 2 * path[t + 1] + DISCOUNT * going * ((1 - LAM) * 0.5 * path[t + 1] + LAM * latest)
            loss = 0.5 * (latest - 0.5 * path[t]) ** 2 + 0.5 * (0.4 * path[t] - 0.5 * path[t]) ** 2 + 2 * constant
            assert losses["critic"][i, t].item() == pytest.approx(weights[t] * loss, rel=1e-5, abs=1e-7), (i, t)
    assert seen == {True, False}
    losses["actor"].sum().backward()
    assert agent.heads["continue"].p.grad is None


def test_the_discount_of_a_decision_grows_with_the_frames_that_it_lasts():
    """0.9 per decision of one frame is 0.9 ** (1 / 3) per frame where a decision lasts three."""
    _, learner, view, ctx = make("discrete", repeat=3, discount=0.9 ** (1 / 3))
    for found, reference in zip(learner.losses(view, ctx).values(), make_losses("discrete"), strict=True):
        torch.testing.assert_close(found, reference)
    _, per_decision, view, ctx = make("discrete", repeat=3, discount_per="decision")
    for found, reference in zip(per_decision.losses(view, ctx).values(), make_losses("discrete"), strict=True):
        torch.testing.assert_close(found, reference)
    _, wrong, view, ctx = make("discrete", repeat=3)
    assert not torch.allclose(wrong.losses(view, ctx)["critic"], list(make_losses("discrete"))[1])


def make_losses(kind: str) -> list[Tensor]:
    _, learner, view, ctx = make(kind)
    return list(learner.losses(view, ctx).values())
