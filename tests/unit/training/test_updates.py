"""One update: one view, one backward for those who share it, freezing, clipping, and numbers that blow up."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from reverie.contracts import Counters, Learner, Sampling, Transition, View
from reverie.errors import NumericalFault, ReverieError
from reverie.nn import keep_average
from reverie.testing.toys import ToyAgent, toy_batch
from reverie.training.context import LearnerContext
from reverie.training.metrics import Averages
from reverie.training.updates import GradientUpdates, by_gradient, held

from .conftest import LEARNERS, Options, RewardLearner, make_agent, make_learners


def contexts(agent: ToyAgent, *names: str, averages: Averages | None = None) -> dict[str, Any]:
    averages = averages or Averages()
    return {
        name: LearnerContext(name, agent, None, None, Counters(updates=7), "train", Sampling(), averages, lambda: False)
        for name in names
    }


def view_of(agent: ToyAgent, seed: int = 3) -> View:
    return View(toy_batch(3, 6, seed=seed), agent, Sampling(generators=[torch.Generator().manual_seed(1)]))


def weights(agent: ToyAgent) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in agent.state_dict().items()}


def changed(agent: ToyAgent, before: dict[str, Tensor]) -> set[str]:
    """The slots in which something changed."""
    names = {name for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    return {".".join(name.split(".")[:2]) if name.startswith("heads") else name.split(".")[0] for name in names}


def run(agent: ToyAgent, *names: str, clip: float = 1e6, frozen: tuple[str, ...] = (), backward: Any = None) -> Any:
    learners = make_learners(agent, *names, clip=clip)
    optimizers = {name: list(learner.optimizers()) for name, learner in learners.items()}
    updates = GradientUpdates(agent, learners, optimizers, backward or torch.autograd.backward)
    averages = Averages()
    with held([p for slot in frozen for p in agent.module(slot).parameters()]):
        updates.update(names, view_of(agent), contexts(agent, *names, averages=averages))
    return learners, averages


def test_learners_together_do_what_each_does_alone_on_the_same_batch() -> None:
    together, alone = make_agent(), make_agent()
    run(together, "model", "reward")
    # By hand: the losses of each, at the weights that both start from, one plain gradient step.
    view = view_of(alone)
    model = sum(value.mean() for value in alone.dynamics.losses(view).values())
    latent = view.observed.train.detach()
    from reverie.contracts import Transition

    reward = -alone.heads["reward"](Transition(None, None, latent)).log_prob(view.batch.reward).mean()
    for loss, slots in ((model, ("encoder", "dynamics")), (reward, ("heads/reward",))):
        parameters = [p for slot in slots for p in alone.module(slot).parameters()]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.001 * gradient
    for name, value in together.state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=0, atol=1e-7, msg=name)


def test_sharing_learners_cost_one_backward(agent: ToyAgent) -> None:
    calls = []

    def counted(loss: Tensor) -> None:
        calls.append(loss.detach())
        loss.backward()

    run(agent, "model", "reward", backward=counted)
    assert len(calls) == 1
    run(agent, "model", "reward", "value", backward=counted)
    assert len(calls) == 3


def test_a_learner_trains_its_slots_and_nothing_else(agent: ToyAgent) -> None:
    before = weights(agent)
    run(agent, "reward")
    assert changed(agent, before) == {"heads.reward"}


def test_own_backward_comes_after_the_others_stepped_and_reaches_only_its_own_slots(agent: ToyAgent) -> None:
    before = weights(agent)
    learners, _ = run(agent, "value")
    assert changed(agent, before) == {"heads.value"}
    assert learners["value"].seen is False
    order: list[str] = []

    def noted(loss: Tensor) -> None:
        order.append("backward")
        assert all(p.grad is None for p in agent.parameters())
        loss.backward()

    other = make_agent()
    agent.load_state_dict(other.state_dict())
    learners, _ = run(agent, "value", "model", backward=noted)
    assert len(order) == 2
    assert learners["model"].calls == ["losses", "after_step"]
    # The model's gradient is the one it has alone.
    run(other, "model")
    assert torch.equal(agent.dynamics.transition.weight, other.dynamics.transition.weight)


def test_gradients_are_gone_afterwards(agent: ToyAgent) -> None:
    run(agent, "model", "reward", "value")
    assert all(parameter.grad is None for parameter in agent.parameters())


def test_clipping_is_per_learner(agent: ToyAgent) -> None:
    before = weights(agent)
    _, averages = run(agent, "model", "reward", clip=0.05)
    norms = averages.take()
    for slots, name in ((("encoder", "dynamics"), "model"), (("heads/reward",), "reward")):
        moved = [
            (value - before[key]).norm()
            for key, value in agent.state_dict().items()
            if key.startswith(tuple(slot.replace("/", ".") for slot in slots))
        ]
        # A gradient of norm 0.05 at rate 0.001; what is logged is the norm before clipping.
        assert torch.stack(moved).norm().item() == pytest.approx(5e-5, rel=1e-2)
        assert norms[f"{name}/grad_norm"] > 0.05


def test_a_frozen_slot_stays_and_the_rest_of_the_learner_goes_on(agent: ToyAgent) -> None:
    before = weights(agent)
    run(agent, "model", frozen=("encoder",))
    assert changed(agent, before) == {"dynamics"}
    assert all(parameter.requires_grad for parameter in agent.parameters())


def test_freezing_everything_a_learner_trains_is_an_error_that_says_so(agent: ToyAgent) -> None:
    with pytest.raises(ReverieError, match="freeze"):
        run(agent, "reward", frozen=("heads/reward",))


def test_losses_are_logged_by_learner(agent: ToyAgent) -> None:
    _, averages = run(agent, "model", "reward")
    means = averages.take()
    assert set(means) == {"model/dyn", "model/rep", "model/grad_norm", "reward/reward", "reward/grad_norm"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_and_no_weight_changes(agent: ToyAgent, value: float) -> None:
    learners = make_learners(agent, "model", "reward")
    updates = GradientUpdates(agent, learners, {name: list(one.optimizers()) for name, one in learners.items()})
    batch = toy_batch(3, 6)
    batch.reward[1, 2] = value
    before = weights(agent)
    with pytest.raises(NumericalFault, match=r"learner 'reward': loss 'reward' is .* at update 7"):
        updates.update(["model", "reward"], View(batch, agent, Sampling()), contexts(agent, "model", "reward"))
    assert changed(agent, before) == set()


def test_a_gradient_that_is_not_finite_is_named_and_no_weight_changes(agent: ToyAgent) -> None:
    before = weights(agent)

    def broken(loss: Tensor) -> None:
        loss.backward()
        agent.heads["reward"].linear.weight.grad.fill_(float("nan"))

    with pytest.raises(NumericalFault, match=r"learner 'reward': the norm of its gradient is nan at update 7"):
        run(agent, "model", "reward", backward=broken)
    assert changed(agent, before) == set()


def test_learners_without_gradients_are_told_apart(agent: ToyAgent) -> None:
    learners = make_learners(agent, "model", "evolution")
    assert by_gradient(learners["model"])
    assert not by_gradient(learners["evolution"])


def averaging(agent: ToyAgent, *names: str) -> GradientUpdates:
    learners = make_learners(agent, *names)
    optimizers = {name: list(learner.optimizers()) for name, learner in learners.items()}
    for optimizer in optimizers[names[0]]:
        keep_average(optimizer, 0.5)
    return GradientUpdates(agent, learners, optimizers)


def test_learners_see_the_iterates_and_the_agent_keeps_their_average() -> None:
    agent, plain = make_agent(), make_agent()
    updates, other = averaging(agent, "model"), averaging(plain, "model")
    for group in (group for one in other.optimizers["model"] for group in one.param_groups):
        del group["average"]
    seen, iterate = [], []
    for seed in range(3):
        updates.update(["model"], view_of(agent, seed), contexts(agent, "model"))
        other.update(["model"], view_of(plain, seed), contexts(plain, "model"))
        iterate.append(weights(plain))
        seen.append(weights(agent))
    for name in weights(agent):
        first, second, third = (one[name] for one in iterate)
        torch.testing.assert_close(seen[1][name], (first + second) / 2)
        torch.testing.assert_close(seen[2][name], (first + second) / 4 + third / 2)


def test_an_update_that_is_not_finite_leaves_average_and_iterate_where_they_were() -> None:
    agent = make_agent()
    updates = averaging(agent, "model")
    for seed in range(2):
        updates.update(["model"], view_of(agent, seed), contexts(agent, "model"))
    (optimizer,) = updates.optimizers["model"]
    before, iterates_before = weights(agent), [dict(one) for one in copy.deepcopy(optimizer.state).values()]
    batch = toy_batch(3, 6)
    for entry in batch.obs.values():
        entry[:] = float("nan")
    with pytest.raises(NumericalFault):
        updates.update(["model"], View(batch, agent, Sampling()), contexts(agent, "model"))
    assert changed(agent, before) == set()
    for old, new in zip(iterates_before, optimizer.state.values(), strict=True):
        assert torch.equal(old["iterate"], new["iterate"])


def test_learners_without_an_average_learn_from_the_average() -> None:
    """Their gradient is that of the states which the agent, as it is outside of updates, sees in the batch."""
    agent = make_agent()
    updates, seen = averaging(agent, "model", "reward"), []
    losses = updates.learners["reward"].losses

    def watched(view: View, ctx: Any) -> dict[str, Tensor]:
        seen.append(view.observed.train.features)
        return losses(view, ctx)

    updates.learners["reward"].losses = watched  # type: ignore[method-assign]
    views = [View(toy_batch(3, 6, seed=seed), agent, Sampling("mode")) for seed in range(3)]
    for view in views:
        updates.update(["model", "reward"], view, contexts(agent, "model", "reward"))
    torch.testing.assert_close(seen[-1], views[-1].afresh().observed.train.features)


@pytest.mark.parametrize("averaged", [("reward",), ("reward", "model")])
def test_a_learner_after_one_with_an_average_trains_all_that_it_names(averaged: tuple[str, ...]) -> None:
    agent = make_agent()
    learners = make_learners(agent, "reward", "model")
    optimizers = {name: list(learner.optimizers()) for name, learner in learners.items()}
    for name in averaged:
        keep_average(optimizers[name][0], 0.5)
    before = weights(agent)
    GradientUpdates(agent, learners, optimizers).update(
        ["reward", "model"], view_of(agent), contexts(agent, "reward", "model")
    )
    assert changed(agent, before) == {"encoder", "dynamics", "heads.reward"}


def test_what_a_stage_freezes_does_not_follow_its_iterate() -> None:
    agent = make_agent()
    updates = averaging(agent, "model")
    for seed in range(3):
        updates.update(["model"], view_of(agent, seed), contexts(agent, "model"))
    before = weights(agent)
    with held(list(agent.encoder.parameters())):
        updates.update(["model"], view_of(agent, 3), contexts(agent, "model"))
    assert changed(agent, before) == {"dynamics"}


def test_a_renewed_view_has_a_graph_for_those_who_train_the_rest_of_the_model() -> None:
    agent = make_agent()
    kind, _ = LEARNERS["model"]
    learners = {slot: kind(Options(trains=(slot,), grad_clip=1e6), agent) for slot in ("dynamics", "encoder")}
    optimizers = {name: list(learner.optimizers()) for name, learner in learners.items()}
    keep_average(optimizers["dynamics"][0], 0.5)
    before = weights(agent)
    updates = GradientUpdates(agent, learners, optimizers)
    updates.update(["dynamics", "encoder"], view_of(agent), contexts(agent, "dynamics", "encoder"))
    assert changed(agent, before) == {"encoder", "dynamics"}


@pytest.mark.parametrize("trains", [("heads/reward", "dynamics"), ("dynamics", "heads/reward")])
@pytest.mark.parametrize("others", [("second",), ("first", "second")])
def test_whoever_trains_a_part_of_the_model_after_an_average_gets_its_gradient(
    trains: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """Also as the second of two slots, and as the second of two learners."""

    class Through(RewardLearner):
        """Its gradient goes on into the dynamics, and ends there unless those are its own."""

        def losses(self, view: View, ctx: Any) -> dict[str, Tensor]:
            distribution = view.agent.heads["reward"](Transition(None, None, view.observed.train))
            return {"reward": -distribution.log_prob(view.batch.reward)}

    agent = make_agent()
    kind, _ = LEARNERS["model"]
    learners: dict[str, Learner] = {
        "averaged": kind(Options(trains=("encoder",), grad_clip=1e6), agent),
        "first": RewardLearner(Options(trains=("heads/reward",), grad_clip=1e6), agent),
        "second": Through(Options(trains=trains, grad_clip=1e6), agent),
    }
    optimizers = {name: list(learner.optimizers()) for name, learner in learners.items()}
    keep_average(optimizers["averaged"][0], 0.5)
    before, names = weights(agent), ["averaged", *others]
    GradientUpdates(agent, learners, optimizers).update(names, view_of(agent), contexts(agent, *names))
    assert changed(agent, before) == {"encoder", "dynamics", "heads.reward"}


@pytest.mark.parametrize(("reaches", "graph"), [((), False), (("dynamics",), False), (("encoder",), True)])
def test_a_renewed_view_has_no_graph_that_nobody_asks_for(reaches: tuple[str, ...], graph: bool) -> None:
    """A learner of a head asks for none, unless its gradient passes through the encoder; the model is free again."""
    agent = make_agent()
    updates, seen = averaging(agent, "model", "reward"), []
    updates.learners["reward"].config = Options(trains=("heads/reward",), reaches=reaches, grad_clip=1e6)
    losses = updates.learners["reward"].losses

    def watched(view: View, ctx: Any) -> dict[str, Tensor]:
        seen.append(view.observed.train.features.requires_grad)
        return losses(view, ctx)

    updates.learners["reward"].losses = watched  # type: ignore[method-assign]
    before = weights(agent)
    updates.update(["model", "reward"], view_of(agent), contexts(agent, "model", "reward"))
    assert seen == [graph]
    assert changed(agent, before) == {"encoder", "dynamics", "heads.reward"}
    assert all(parameter.requires_grad for parameter in agent.parameters())


def test_of_two_learners_with_averages_each_sees_the_average_of_the_other() -> None:
    agent = make_agent()
    updates, seen = averaging(agent, "model", "reward"), []
    keep_average(updates.optimizers["reward"][0], 0.1)
    losses = updates.learners["model"].losses

    def watched(view: View, ctx: Any) -> dict[str, Tensor]:
        seen.append({name: value for name, value in weights(agent).items() if name.startswith("heads")})
        return losses(view, ctx)

    updates.learners["model"].losses = watched  # type: ignore[method-assign]
    for seed in range(4):
        outside = weights(agent)
        updates.update(["model", "reward"], view_of(agent, seed), contexts(agent, "model", "reward"))
        assert seen[-1]
        assert all(torch.equal(value, outside[name]) for name, value in seen[-1].items())


def test_an_average_begins_anew_only_after_others_trained_its_slots() -> None:
    agent = make_agent()
    updates = averaging(agent, "model", "reward")
    for seed in range(2):
        updates.update(["model"], view_of(agent, seed), contexts(agent, "model"))
    (optimizer,) = updates.optimizers["model"]
    (group,) = optimizer.param_groups
    updates.rejoin("model", {"reward"})
    assert group["averaged"] == 2
    updates.rejoin("model", {"reward", "model"})  # as another learner of the same slots would
    assert group["averaged"] == 0
    for parameter, state in optimizer.state.items():
        assert torch.equal(state["iterate"], parameter)
