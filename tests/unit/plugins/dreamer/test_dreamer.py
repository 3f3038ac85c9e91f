from typing import Any

import pytest
import torch
from torch import nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import Sampling, View
from reverie.nn import LaProp, Muon
from reverie.testing.toys import ToyAgent, ToyHead, toy_action, toy_batch
from reverie_plugins.dreamer.config import DreamerConfig
from reverie_plugins.dreamer.imagined import choose_starts
from reverie_plugins.dreamer.learner import ActorCritic

B, T = 4, 7


def make(kind: str = "continuous", **options: Any) -> tuple[ToyAgent, ActorCritic, View, Rehearsal]:
    torch.manual_seed(0)
    agent = ToyAgent(action=toy_action(kind, 3))
    learner = ActorCritic(
        DreamerConfig(**{"starts": 8, "horizon": 5, "gradient": "auto", **options}).resolved(agent.slots()), agent
    )
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    view = View(toy_batch(B, T, action=agent.action), agent, sampling)
    return agent, learner, view, Rehearsal(agent, sampling, agent.imagination)


def touched(agent: ToyAgent) -> set[str]:
    return {slot for slot in agent.slots() if any(p.grad is not None for p in agent.module(slot).parameters())}


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("gradient", ["auto", "dynamics", "reinforce"])
@pytest.mark.parametrize("targets", ["online", "slow"])
def test_gradients_reach_actor_and_critic_and_nothing_else(kind: str, gradient: str, targets: str):
    agent, learner, view, ctx = make(kind, gradient=gradient, targets=targets)
    losses = learner.losses(view, ctx)
    assert {name: loss.shape for name, loss in losses.items()} == {"actor": (8, 5), "critic": (8, 5)}
    losses["actor"].mean().backward(retain_graph=True)
    assert touched(agent) == {"actor"}
    losses["critic"].mean().backward()
    assert touched(agent) == {"actor", "heads/value"}
    assert all(p.requires_grad for p in agent.parameters())
    assert all(p.grad is None for p in learner.slow.parameters())


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("into_model", [True, False])
@pytest.mark.parametrize("starts", [8, None])
def test_the_loss_on_replayed_states_reaches_the_model_only_where_it_may(
    kind: str, into_model: bool, starts: int | None
):
    agent, learner, view, ctx = make(kind, replay_value=0.3, replay_value_into_model=into_model, starts=starts)
    losses = learner.losses(view, ctx)
    assert losses["replay_critic"].shape == (B, T - 1)
    losses["replay_critic"].mean().backward()
    assert touched(agent) == {"heads/value"} | ({"encoder", "dynamics"} if into_model else set())
    assert all(p.grad is None for p in learner.slow.parameters())


def test_what_it_reaches_follows_the_options():
    slots = ("encoder", "dynamics", "heads/reward", "heads/value", "actor")

    def reaches(**options: Any) -> tuple[str, ...]:
        return DreamerConfig(**options).resolved(slots).reaches

    assert reaches() == ("dynamics", "heads/reward")
    assert reaches(replay_value=0.3) == ("dynamics", "heads/reward")
    assert reaches(replay_value_into_model=True) == ("dynamics", "heads/reward")
    assert reaches(replay_value=0.3, replay_value_into_model=True) == ("encoder", "dynamics", "heads/reward")


def test_without_the_option_there_is_no_loss_on_replayed_states():
    _agent, learner, view, ctx = make()
    assert set(learner.losses(view, ctx)) == {"actor", "critic"}


def test_a_chunk_of_one_step_has_no_replayed_return():
    agent, learner, view, ctx = make(replay_value=0.3)
    single = View(view.batch.map(lambda value: value[:, :1]), agent, view.sampling)
    with pytest.raises(ValueError, match="at least 2 steps"):
        learner.losses(single, ctx)


def test_auto_is_by_action_kind():
    assert make("discrete")[1].reinforce
    assert not make("continuous")[1].reinforce
    assert not make("discrete", gradient="dynamics")[1].reinforce


def test_the_shared_pass_stays_whole_for_other_learners():
    agent, learner, view, ctx = make()
    (
        view.observed.states.x.square().mean() + sum(loss.mean() for loss in learner.losses(view, ctx).values())
    ).backward()
    assert touched(agent) == {"encoder", "dynamics", "actor", "heads/value"}


def test_the_view_may_be_computed_by_this_learner_first():
    agent, learner, view, ctx = make()
    learner.losses(view, ctx)
    assert view.observed.states.x.requires_grad
    view.observed.states.x.sum().backward()
    assert "dynamics" in touched(agent)


def test_every_row_gives_as_many_starts_and_its_own_continue_flag():
    _agent, _learner, view, ctx = make()
    chosen = choose_starts(view, 8, ctx.sampling)
    states, alive = chosen.states, chosen.alive
    assert states.batch_shape == (8,)
    assert not states.x.requires_grad
    everything = view.observed.states.x
    for row in range(B):
        for start in range(2):
            at = (everything[row] == states.x[2 * row + start]).all(-1).nonzero()
            assert len(at) == 1, "a start comes from its own row"
            assert int(chosen.times[row, start]) == int(at)
            assert float(alive[2 * row + start]) == float(view.batch.cont[row, int(at)])
    assert len({tuple(one.tolist()) for one in states.x}) == 8, "no start twice"


def test_starts_cover_the_whole_chunk():
    _agent, _learner, view, ctx = make()
    seen: set[float] = set()
    for _ in range(60):
        seen |= set(choose_starts(view, B, ctx.sampling).states.x[:, 0].tolist())
    assert seen == set(view.observed.states.x[..., 0].flatten().tolist())


def test_null_starts_from_every_state():
    _agent, _learner, view, ctx = make(starts=None)
    chosen = choose_starts(view, None, ctx.sampling)
    assert torch.equal(chosen.states.x, view.observed.states.x.flatten(0, 1))
    assert torch.equal(chosen.alive, view.batch.cont.flatten())
    assert chosen.times.tolist() == [list(range(T))] * B


def test_two_ranks_choose_what_one_process_chooses_on_the_joined_batch():
    """Starts and imagined noise belong to the row: each rank's half equals its half of the whole."""
    agent, learner, view, _ctx = make("discrete", replay_value=0.3, starts=8)

    def losses(batch: Any, shard: tuple[int, int]) -> dict[str, torch.Tensor]:
        sampling = Sampling(generators=[torch.Generator().manual_seed(3)], shard=shard)
        return learner.losses(View(batch, agent, sampling), Rehearsal(agent, sampling, agent.imagination))

    whole = losses(view.batch, (0, 1))
    halves = [losses(view.batch.map(lambda value, r=rank: value[2 * r : 2 * r + 2]), (rank, 2)) for rank in range(2)]
    for name in ("critic", "replay_critic"):
        torch.testing.assert_close(torch.cat([half[name] for half in halves]), whole[name])


def test_optimizers_have_their_rates_and_their_parameters():
    agent, learner, _view, _ctx = make(actor_lr=0.1, critic_lr=0.2)
    actor, critic = learner.optimizers()
    assert (actor.defaults["lr"], critic.defaults["lr"]) == (0.1, 0.2)
    assert actor.param_groups[0]["params"] == list(agent.actor.parameters())
    assert critic.param_groups[0]["params"] == list(agent.heads["value"].parameters())
    assert learner.trained(agent) == [*agent.actor.parameters(), *agent.heads["value"].parameters()]


def test_the_optimizer_is_an_option():
    _agent, learner, _view, _ctx = make(optimizer="laprop", eps=1e-20, warmup=10, actor_lr=0.1)
    actor, critic = learner.optimizers()
    assert type(actor) is type(critic) is LaProp
    assert (actor.param_groups[0]["warmup"], actor.param_groups[0]["full_lr"]) == (10, 0.1)
    assert critic.param_groups[0]["eps"] == 1e-20


def test_the_actor_may_forget_gradients_sooner_than_the_critic():
    for name in ("adam", "laprop"):
        actor, critic = make(actor_betas=(0.5, 0.95), optimizer=name)[1].optimizers()
        assert (actor.param_groups[0]["betas"], critic.param_groups[0]["betas"]) == ((0.5, 0.95), (0.9, 0.999))


def test_muon_takes_the_matrices_of_both():
    agent, learner, _view, _ctx = make(optimizer="muon", actor_lr=0.1, critic_lr=0.2)
    found = [optimizer for optimizer in learner.optimizers() if type(optimizer) is Muon]
    assert {optimizer.param_groups[0]["lr"] for optimizer in found} <= {0.1, 0.2}
    stepped = [p for optimizer in learner.optimizers() for group in optimizer.param_groups for p in group["params"]]
    assert len(stepped) == len(learner.trained(agent)) == len({*stepped} & {*learner.trained(agent)})


def test_the_learner_saves_its_own_state_only():
    _agent, learner, _view, _ctx = make()
    assert {name.partition(".")[0] for name in learner.state_dict()} == {"slow", "scale"}
    assert all(not p.requires_grad for p in learner.parameters())


def test_the_value_must_judge_states():
    class Q(ToyHead):
        reads = "before_action"

    action = toy_action()
    heads = {"reward": ToyHead(None, 4, action), "value": Q(None, 4, action)}
    agent = ToyAgent(action=action, heads=heads)
    with pytest.raises(ValueError, match="must judge states"):
        ActorCritic(DreamerConfig().resolved(agent.slots()), agent)


def test_it_trains_actor_and_critic_or_says_why_not():
    agent = ToyAgent()
    with pytest.raises(ValueError, match="trains the actor and heads/value"):
        ActorCritic(DreamerConfig(trains=("actor",)).resolved(agent.slots()), agent)


def test_needs_follow_the_options():
    assert DreamerConfig(gradient="dynamics").needs().provides == {"dynamics": ("differentiable",)}
    assert DreamerConfig(gradient="reinforce").needs().provides == {}


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_actor_finds_the_action_that_pays(kind: str):
    """Reward = x after the step, and x' is moved by the first action entry: after learning, it is chosen."""
    agent, learner, view, ctx = make(kind, horizon=3, actor_lr=0.02, critic_lr=0.02, entropy=1e-4)
    with torch.no_grad():
        agent.dynamics.transition.weight.zero_()
        agent.dynamics.transition.weight[0, agent.dynamics.size] = 1.0  # x_0' = a_0
        agent.heads["reward"].linear.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        nn.init.constant_(agent.heads["continue"].linear.bias, 0.9)
        nn.init.zeros_(agent.heads["continue"].linear.weight)
    optimizers = learner.optimizers()
    for _ in range(150):
        losses = learner.losses(view, ctx)
        for optimizer in optimizers:
            optimizer.zero_grad()
        sum(loss.mean() for loss in losses.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
        learner.after_step(ctx)
    mean = agent.actor.policy(view.observed.states).mean[..., 0].mean()
    assert float(mean) > 0.8
