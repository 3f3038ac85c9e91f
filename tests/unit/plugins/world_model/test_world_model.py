from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.assembly.rehearsal import Rehearsal
from reverie.contracts import ArraySpec, Head, Objective, ObservationSpec, Sampling, Transition, View
from reverie.nn import LaProp, Muon
from reverie.testing.toys import LinearDynamics, ToyAgent, ToyHead, ToyNormal, ToyObjective, toy_action, toy_batch
from reverie_plugins.world_model.config import WorldModelConfig
from reverie_plugins.world_model.learner import WorldModel

B, T = 3, 7


def make(agent: ToyAgent | None = None, **options: Any) -> tuple[ToyAgent, WorldModel, View, Rehearsal]:
    torch.manual_seed(0)
    agent = agent or ToyAgent(objectives={"reconstruction": ToyObjective(None, ToyAgent())})
    names = [*agent.slots(), *(f"objectives/{name}" for name in agent.objectives)]
    learner = WorldModel(WorldModelConfig(**options).resolved(dict.fromkeys(names)), agent)
    sampling = Sampling(generators=[torch.Generator().manual_seed(1)])
    return agent, learner, View(toy_batch(B, T), agent, sampling), Rehearsal(agent, sampling, agent.imagination)


def reached(agent: ToyAgent) -> set[str]:
    return {
        slot
        for slot in agent.slots()
        if any(p.grad is not None and p.grad.any() for p in agent.module(slot).parameters())
    }


def test_all_terms_of_all_parts_are_there():
    agent, learner, view, ctx = make()
    losses = learner.losses(view, ctx)
    assert set(losses) == {"dynamics/dyn", "dynamics/rep", "reconstruction/decode_state", "reward", "continue"}
    assert all(loss.shape == (B, T) for loss in losses.values())
    own = agent.dynamics.losses(view)
    torch.testing.assert_close(losses["dynamics/dyn"], own["dyn"])
    torch.testing.assert_close(
        losses["reconstruction/decode_state"], agent.objectives["reconstruction"].losses(view, agent)["decode_state"]
    )


def test_heads_are_fitted_to_the_reward_and_the_true_continuation():
    agent, learner, view, ctx = make(reward_scale=2.0, continue_scale=3.0, continue_discount=0.5)
    losses = learner.losses(view, ctx)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    x = view.observed.states.x
    for name, target, scale in (("reward", view.batch.reward, 2.0), ("continue", 0.5 * view.batch.cont, 3.0)):
        mean = x @ agent.heads[name].linear.weight[0] + agent.heads[name].linear.bias
        torch.testing.assert_close(losses[name], scale * (0.5 * (target - mean).square() + constant))
    assert bool(view.batch.is_terminal.any())
    assert bool((view.batch.is_last & ~view.batch.is_terminal).any())  # a time limit is no end


def test_gradients_reach_the_model_and_nothing_else():
    agent, learner, view, ctx = make()
    sum(loss.mean() for loss in learner.losses(view, ctx).values()).backward()
    assert reached(agent) == {"encoder", "dynamics", "decoder", "heads/reward", "heads/continue"}
    (optimizer,) = learner.optimizers()
    stepped = {p for group in optimizer.param_groups for p in group["params"]}
    assert stepped == {p for slot in reached(agent) for p in agent.module(slot).parameters()}


@pytest.mark.parametrize("name", ["reward", "continue", "reconstruction/decode_state"])
def test_what_each_head_has_to_explain_shapes_the_states(name: str):
    """Note 13: the gradient of every single term reaches encoder and dynamics."""
    agent, learner, view, ctx = make()
    learner.losses(view, ctx)[name].mean().backward()
    assert {"encoder", "dynamics"} <= reached(agent)


def test_slots_that_are_only_reached_shape_the_encoder_and_are_not_stepped():
    """A new encoder below a dynamics and heads of another run: their losses count, their parameters stay."""
    _, everything, view, ctx = make()
    agent, learner, view, ctx = make(
        trains=("encoder", "decoder"), reaches=("dynamics", "heads/reward", "heads/continue")
    )
    losses = learner.losses(view, ctx)
    assert losses.keys() == everything.losses(view, ctx).keys()
    (optimizer,) = learner.optimizers()
    stepped = {p for group in optimizer.param_groups for p in group["params"]}
    assert stepped == {p for slot in ("encoder", "decoder") for p in agent.module(slot).parameters()}
    for loss in losses.values():
        agent.zero_grad()
        loss.mean().backward(retain_graph=True)
        assert "encoder" in reached(agent)


def test_a_slot_that_is_neither_trained_nor_reached_has_no_loss():
    _, learner, view, ctx = make(trains=("encoder", "decoder"), reaches=("heads/reward",))
    assert set(learner.losses(view, ctx)) == {"reconstruction/decode_state", "reward"}


class Between(Head):
    """Reads the state before and the action."""

    reads = "before_action"

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.p = nn.Parameter(torch.ones(()))

    def forward(self, transition: Transition) -> Any:
        assert transition.before is not None
        assert transition.after is None
        return ToyNormal(self.p * transition.before.x[..., 0], 1.0, 0)


def test_a_head_that_reads_transitions_has_no_loss_where_there_is_none():
    agent = ToyAgent(heads={"reward": Between()})
    _agent, learner, view, ctx = make(agent)
    loss = learner.losses(view, ctx)["reward"]
    nothing = view.batch.is_first.clone()
    nothing[:, 0] = True
    assert bool(view.batch.is_first[:, 1:].any())
    assert torch.equal(loss == 0, nothing)
    b, t = 0, int((~nothing[0]).nonzero()[0])
    wanted = 0.5 * (view.batch.reward[b, t] - view.observed.states.x[b, t - 1, 0]) ** 2 + 0.9189385
    torch.testing.assert_close(loss[b, t], wanted)


def test_the_loss_of_an_ensemble_of_heads_is_the_mean_over_members():
    class Ensemble(ToyHead):
        members = 5

        def forward(self, transition: Transition) -> Any:
            mean = transition.after.x[..., :1] + torch.arange(5.0)
            return ToyNormal(mean + 0 * self.linear.weight.sum(), 1.0, 0)

    agent = ToyAgent(heads={"reward": Ensemble(None, 4, toy_action())})
    _agent, learner, view, ctx = make(agent)
    x, reward = view.observed.states.x[..., 0], view.batch.reward
    wanted = sum(0.5 * (reward - x - member) ** 2 + 0.9189385 for member in range(5)) / 5
    torch.testing.assert_close(learner.losses(view, ctx)["reward"], wanted)


def test_empty_slots_drop_out_of_the_defaults():
    agent = ToyAgent(heads={"value": ToyHead(None, 4, toy_action())})
    config = WorldModelConfig().resolved(["encoder", "dynamics", "heads/value"])
    assert config.trains == ("encoder", "dynamics")
    assert config.objectives == ()
    _agent, _learner, view, ctx = make(agent)
    assert set(WorldModel(config, agent).losses(view, ctx)) == {"dynamics/dyn", "dynamics/rep"}


def test_what_the_recipe_writes_is_kept_for_the_wiring_check():
    config = WorldModelConfig(trains=("encoder", "decoder", "heads/*"), objectives=("missing",))
    resolved = config.resolved(["encoder", "heads/reward", "objectives/reconstruction"])
    assert resolved.trains == ("encoder", "decoder", "heads/reward")
    assert resolved.objectives == ("missing",)


def test_a_learner_of_heads_alone_leaves_the_model_alone():
    agent, learner, view, ctx = make(trains=("heads/reward",), objectives=())
    losses = learner.losses(view, ctx)
    assert set(losses) == {"reward"}
    losses["reward"].mean().backward()
    assert reached(agent) == {"heads/reward"}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_one_optimizer_with_the_options(weight_decay: float):
    _agent, learner, _view, _ctx = make(lr=0.02, eps=1e-5, weight_decay=weight_decay)
    (optimizer,) = learner.optimizers()
    assert type(optimizer) is (torch.optim.AdamW if weight_decay else torch.optim.Adam)
    assert optimizer.defaults["lr"] == 0.02
    assert optimizer.defaults["eps"] == 1e-5


class Held(Objective):
    """An objective with a parameter of its own."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.p = nn.Parameter(torch.ones(()))

    def losses(self, view: View, agent: Any) -> dict[str, Tensor]:
        return {"": self.p * view.observed.states.x.square().sum(-1)}


def test_parameters_of_objectives_are_trained():
    agent = ToyAgent(objectives={"held": Held()})
    _agent, learner, view, ctx = make(agent)
    assert "objectives/held" in learner.config.trains
    sum(loss.mean() for loss in learner.losses(view, ctx).values()).backward()
    assert "objectives/held" in reached(agent)


def test_a_model_fits_a_batch():
    _agent, learner, view, ctx = make(lr=0.02)
    (optimizer,) = learner.optimizers()
    assert isinstance(view.agent.dynamics, LinearDynamics)
    totals = []
    for _ in range(60):
        fresh = View(view.batch, view.agent, view.sampling)
        total = sum(loss.mean() for loss in learner.losses(fresh, ctx).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.6 * sum(totals[:5])


def test_the_optimizer_is_an_option():
    agent, learner, _view, _ctx = make(optimizer="laprop", lr=0.1, eps=1e-20, warmup=10, weight_decay=0.2)
    (optimizer,) = learner.optimizers()
    group = optimizer.param_groups[0]
    assert type(optimizer) is LaProp
    assert (group["full_lr"], group["eps"], group["warmup"], group["weight_decay"]) == (0.1, 1e-20, 10, 0.2)
    assert group["params"] == learner.trained(agent)


def test_its_rate_may_fall():
    made = make(optimizer="muon", lr=0.1, falls_after=50)[1].optimizers()
    groups = [group for optimizer in made for group in optimizer.param_groups]
    assert [(group["full_lr"], group["falls_after"]) for group in groups] == [(0.1, 50), (0.1, 50)]


def test_muon_takes_the_matrices_and_adam_the_rest():
    agent, learner, *_ = make(optimizer="muon", average=0.25)
    made = learner.optimizers()
    assert [type(optimizer) for optimizer in made] == [Muon, torch.optim.Adam]
    assert all(optimizer.param_groups[0]["average"] == 0.25 for optimizer in made)
    stepped = [p for optimizer in made for group in optimizer.param_groups for p in group["params"]]
    assert len(stepped) == len(learner.trained(agent)) == len({*stepped} & {*learner.trained(agent)})


@pytest.mark.parametrize(("images", "lr"), [(False, 3e-3), (True, 1e-3)])
def test_the_rate_may_depend_on_what_is_observed(images: bool, lr: float):
    agent = ToyAgent()
    if images:
        agent.observation = ObservationSpec({"camera": ArraySpec((8, 8, 3), "uint8")})
    _, learner, *_ = make(agent, lr={"vectors": 3e-3, "images": 1e-3}, average=0.25)
    (optimizer,) = learner.optimizers()
    assert optimizer.param_groups[0]["lr"] == lr
    assert optimizer.param_groups[0]["average"] == 0.25
