from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie import LearnerConfig
from reverie.assembly.agent import Agent
from reverie.assembly.probe import probe
from reverie.assembly.rehearsal import distinct_sizes, synthetic_batch
from reverie.contracts import Context, Learner, Observed, Transition, View
from reverie.nn import SlowCopy, adam, keep_average
from reverie.testing.toys import LinearDynamics, ToyHead, ToyNormal, toy_action, toy_observation


@dataclass
class FakeRecipe:
    """What the probe asks of a recipe: names, places and how precise its numbers are."""

    places: dict[str, str] = field(default_factory=lambda: {"dynamics.name": "recipe.yaml:7"})
    precision: str = "32-true"
    stages: tuple[Any, ...] = ()

    @property
    def settings(self) -> Any:
        stages = [(0, stage) for stage in self.stages]
        return SimpleNamespace(trainer=SimpleNamespace(precision=self.precision), flat_stages=lambda: stages)

    def choice(self, slot: str) -> Any:
        return SimpleNamespace(component=SimpleNamespace(name="toy"))


class Simple(Learner):
    """Losses made by a function of the view."""

    def __init__(self, agent: Agent, losses: Callable[[View, Context], dict[str, Tensor]], **config: Any) -> None:
        super().__init__(LearnerConfig(**config), agent)
        self.make = losses
        self.parameters_trained = self.trained(agent)

    def optimizers(self) -> Any:
        return [adam(self.parameters_trained, 1e-3)]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        return self.make(view, ctx)


class Averaged(Simple):
    """The same, whose weights are the average of what it steps through."""

    def optimizers(self) -> Any:
        return [keep_average(adam(self.parameters_trained, 1e-3), 0.02)]


def model_losses(view: View, ctx: Context) -> dict[str, Tensor]:
    return view.agent.dynamics.losses(view)


def found(agent: Agent, *learners: Learner) -> str:
    problems = probe(FakeRecipe(), agent, {f"l{i}": learner for i, learner in enumerate(learners)})  # type: ignore[arg-type]
    return "\n".join(str(problem) for problem in problems)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("image", [True, False])
def test_sound_agents_have_no_problems(make_agent: Any, kind: str, image: bool):
    agent = make_agent(kind, image=image)
    assert found(agent, Simple(agent, model_losses, trains=("encoder", "dynamics"))) == ""


def test_sizes_tell_dimensions_apart(make_agent: Any):
    agent = make_agent()
    agent.heads["value"].members, agent.dynamics.members = 3, 4
    B, T = distinct_sizes(agent)
    assert len({1, 3, 4, B, T}) == 5
    batch = synthetic_batch(toy_observation(image=True), toy_action("discrete", 3), B, T)
    assert batch.shape == (B, T)
    assert bool(batch.is_first[:, 1:].any())
    assert bool(batch.is_terminal.any())
    assert not bool(batch.action[batch.is_first].any())


def test_wrong_embedding(make_agent: Any):
    agent = make_agent()
    agent.encoder.embed_size = 9
    assert "encoder (toy): its embedding has shape (3, 6, 6), not (3, 6, 9)" in found(agent)


class Transposed(LinearDynamics):
    """Gives (T, B) instead of (B, T)."""

    def observe(self, *args: Any, **kwargs: Any) -> Any:
        observed = super().observe(*args, **kwargs)
        swapped = observed.states.map(lambda value: value.transpose(0, 1))
        return Observed(states=swapped, priors=observed.priors, train=observed.train, last=observed.last)


class Unbranched(LinearDynamics):
    """Forgets to repeat."""

    def branch(self, state: Any, n: int) -> Any:
        return state


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Transposed, "`states` of observe: batch_shape has shape (6, 3), not (3, 6)"),
        (Unbranched, "branch: batch_shape"),
    ],
)
def test_wrong_dynamics(make_agent: Any, broken: type[LinearDynamics], message: str):
    agent = make_agent()
    agent.dynamics = broken(None, agent.encoder.embed_size, agent.action)
    text = found(agent)
    assert message in text
    assert text.startswith("recipe.yaml:7: dynamics (toy)")


def test_whatever_a_part_raises_is_a_problem_of_its_slot(make_agent: Any):
    agent = make_agent()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("in\nthe middle")

    agent.dynamics.imagine = fail
    assert "dynamics (toy): it fails on a synthetic batch: ZeroDivisionError: in the middle" in found(agent)


class Wide(ToyHead):
    """Has five members and does not say so."""

    def forward(self, transition: Transition) -> Any:
        assert transition.after is not None
        return ToyNormal(transition.after.x[..., :1].expand(*transition.after.batch_shape, 5), 1.0, 0)


def test_a_head_that_hides_its_members(make_agent: Any):
    agent = make_agent()
    agent.heads.put("reward", Wide(None, 4, agent.action))
    assert "heads/reward (toy): its batch_shape has shape (3, 6, 5), not (3, 6)" in found(agent)


def test_a_decoder_that_predicts_what_is_not_there(make_agent: Any):
    agent = make_agent()
    forward = agent.decoder.forward
    agent.decoder.forward = lambda code: {"smell": next(iter(forward(code).values()))}
    assert "it predicts 'smell', which is no entry of the observation" in found(agent)


def test_a_planner_with_a_memory_that_changes(make_agent: Any, counting: Any):
    class Growing(counting):  # type: ignore[misc]
        """Its memory grows."""

        def plan(self, latent: Any, carry: Any, imagination: Any, **options: Any) -> Any:
            action, carry = super().plan(latent, carry, imagination, **options)
            return action * torch.nan, {**carry, "more": carry["count"]}

    text = found(make_agent(planner=Growing))
    assert "its memory after planning has other entries" in text
    assert "not finite" in text


def test_a_gradient_that_strays(make_agent: Any):
    agent = make_agent()

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        reward = view.agent.heads["reward"](view.transition("after"))
        return {"reward": -reward.log_prob(view.batch.reward)}

    text = found(agent, Simple(agent, losses, trains=("heads/reward",)))
    assert "learners/l0 (toy): its gradient enters encoder, dynamics, which it neither trains nor reaches" in text
    assert "add encoder, dynamics to `trains` or `reaches`" in text
    assert found(agent, Simple(agent, losses, trains=("heads/reward",), reaches=("encoder", "dynamics"))) == ""

    def cut(view: View, ctx: Context) -> dict[str, Tensor]:
        return losses(view.detach(), ctx)

    def through(view: View, ctx: Context) -> dict[str, Tensor]:
        with ctx.frozen(["dynamics"]):
            state = view.agent.dynamics.imagine(
                view.observed.last.detach(), view.batch.action[:, 0].requires_grad_(), ctx.sampling
            )
        reward = view.agent.heads["reward"](Transition(before=None, action=None, after=state))
        return {"reward": reward.mean}

    for sound in (cut, through):
        assert found(agent, Simple(agent, sound, trains=("heads/reward",))) == ""


@pytest.mark.parametrize(
    ("average", "together", "freeze", "lost"),
    [
        ("model", ("model", "reward"), (), ["encoder", "dynamics"]),
        ("reward", ("reward", "model"), (), ["encoder", "dynamics"]),
        ("model", ("model", "reward"), ("encoder",), ["dynamics"]),
        ("", ("model", "reward"), (), []),
        ("model", ("model",), (), []),
    ],
)
def test_a_gradient_into_what_steps_apart_is_lost(
    make_agent: Any, average: str, together: tuple[str, ...], freeze: tuple[str, ...], lost: list[str]
):
    """A learner with an average has a pass of its own: before it, and after it, gradients are cleared."""

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        reward = view.agent.heads["reward"](view.transition("after"))
        return {"reward": -reward.log_prob(view.batch.reward)}

    agent = make_agent()
    kinds = {name: Averaged if name == average else Simple for name in ("model", "reward")}
    learners = {
        "model": kinds["model"](agent, model_losses, trains=("encoder", "dynamics")),
        "reward": kinds["reward"](agent, losses, trains=("heads/reward",), reaches=("encoder", "dynamics")),
    }
    stages = [SimpleNamespace(learners=(name,), freeze=()) for name in learners]
    stages += [SimpleNamespace(learners=together, freeze=slots) for slots in (freeze, (*freeze, "dynamics"))]
    problems = probe(FakeRecipe(stages=tuple(stages)), agent, learners)  # type: ignore[arg-type]
    assert [problem.key for problem in problems] == ["learners.reward"] * bool(lost)
    for problem in problems:
        assert f"its gradient into {', '.join(lost)}, which learners/model trains, would be lost" in problem.what
        assert f"learners.{average}.average=null" in problem.fix


@pytest.mark.parametrize("kind", ["own backward", "without gradients"])
def test_who_takes_no_gradient_of_others_loses_none(make_agent: Any, kind: str):
    """A backward of its own drops what leaves its slots, by design; evolution asks for no gradient."""

    class Own(Simple):
        own_backward = True

    class Searching(Averaged):
        def update(self, ctx: Context) -> None:
            raise AssertionError("the probe asks for losses only")

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        last = view.observed.last.detach()
        state = view.agent.dynamics.imagine(last, view.batch.action[:, 0], ctx.sampling)
        return {"reward": view.agent.heads["reward"](Transition(before=None, action=None, after=state)).mean}

    agent = make_agent()
    model, reward = (Averaged, Own) if kind == "own backward" else (Searching, Simple)
    learners = {
        "model": model(agent, model_losses, trains=("encoder", "dynamics")),
        "reward": reward(agent, losses, trains=("heads/reward",), reaches=("dynamics",)),
    }
    stage = SimpleNamespace(learners=("model", "reward"), freeze=())
    assert probe(FakeRecipe(stages=(stage,)), agent, learners) == []  # type: ignore[arg-type]


def test_a_frozen_part_on_the_way_loses_nothing(make_agent: Any):
    """`reaches` also says of a graph that passes through weights that take no gradient, as imagination does."""

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        with ctx.frozen(["dynamics"]):
            state = view.agent.dynamics.imagine(view.observed.last.detach(), view.batch.action[:, 0], ctx.sampling)
        reward = view.agent.heads["reward"](Transition(before=None, action=None, after=state))
        return {"reward": reward.mean}

    agent = make_agent()
    learners = {
        "model": Averaged(agent, model_losses, trains=("encoder", "dynamics")),
        "reward": Simple(agent, losses, trains=("heads/reward",), reaches=("dynamics",)),
    }
    stage = SimpleNamespace(learners=("model", "reward"), freeze=())
    assert probe(FakeRecipe(stages=(stage,)), agent, learners) == []  # type: ignore[arg-type]


def test_a_head_that_begins_at_zero_does_not_hide_a_gradient_that_strays(make_agent: Any):
    """Note 13: with zero weights the gradient into the features is zero in the first update, and only there."""
    agent = make_agent()
    for parameter in agent.heads["value"].parameters():
        nn.init.zeros_(parameter)

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        value = view.agent.heads["value"](view.transition("after"))
        return {"value": -value.log_prob(view.batch.reward)}

    text = found(agent, Simple(agent, losses, trains=("heads/value",)))
    assert "its gradient enters encoder, dynamics, which it neither trains nor reaches" in text


def test_each_learner_is_judged_alone(make_agent: Any):
    agent = make_agent()
    model = Simple(agent, model_losses, trains=("encoder", "dynamics"))
    greedy = Simple(agent, model_losses, trains=("heads/reward",))
    text = found(agent, model, greedy)
    assert "learners/l0" not in text
    assert "learners/l1 (toy): its gradient enters encoder, dynamics" in text
    assert "learners/l1 (toy): it trains heads/reward, but none of its losses depends on it" in text


def test_losses_that_are_not_finite_or_depend_on_nothing(make_agent: Any):
    agent = make_agent()
    bad = Simple(agent, lambda view, ctx: {"x": view.observed.states.x * torch.inf}, trains=("encoder", "dynamics"))
    assert "its loss 'x' is not finite" in found(agent, bad)
    idle = Simple(agent, lambda view, ctx: {"x": torch.zeros(())}, trains=("actor",))
    assert "none of its losses depends on a parameter" in found(agent, idle)


@pytest.mark.parametrize(
    ("precision", "average", "slow", "refused"),
    [
        ("bf16-true", 0.02, 1.0, "average: null"),
        ("bf16-true", None, 0.02, "slow_rate: 1"),
        ("bf16-true", None, 1.0, None),
        ("bf16-mixed", 0.02, 0.02, None),
    ],
)
def test_an_average_needs_weights_that_can_hold_it(
    make_agent: Any, precision: str, average: float | None, slow: float, refused: str | None
):
    """In bfloat16 a share of 0.02 of a difference is rounded away: 1 + 0.02 * 0.1 is 1."""

    class Rated(Simple):
        def optimizers(self) -> Any:
            return [keep_average(adam(self.parameters_trained, 1e-3), average)]

    agent = make_agent()
    learner = Rated(agent, model_losses, trains=("encoder", "dynamics"))
    learner.slow = SlowCopy(agent.dynamics, slow)
    problems = probe(FakeRecipe(precision=precision), agent, {"model": learner})  # type: ignore[arg-type]
    assert [problem.key for problem in problems] == ["learners.model"] * (refused is not None)
    assert all(f"`{refused}`" in problem.fix for problem in problems)
    assert torch.tensor(1.0).bfloat16().lerp(torch.tensor(1.1).bfloat16(), 0.02).item() == 1.0


def test_frozen_slots_need_no_gradient(make_agent: Any):
    agent = make_agent(frozen=["encoder", "dynamics"])
    assert found(agent, Simple(agent, model_losses, trains=("encoder", "dynamics"))) == ""


def test_nothing_changes(make_agent: Any):
    agent = make_agent()

    class Moving(Simple):
        """Counts its calls in a buffer."""

        def __init__(self, *args: Any, **config: Any) -> None:
            super().__init__(*args, **config)
            self.register_buffer("calls", torch.zeros(()))

        def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
            self.calls += 1
            torch.rand(3)
            return super().losses(view, ctx)

    learner = Moving(agent, model_losses, trains=("encoder", "dynamics"))
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    state = torch.get_rng_state()
    assert found(agent, learner) == ""
    assert torch.equal(torch.get_rng_state(), state)
    assert float(learner.calls) == 0
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())
    assert all(parameter.grad is None for parameter in agent.parameters())


def test_a_learner_with_a_backward_of_its_own_sees_a_detached_view(make_agent: Any):
    agent = make_agent()

    class Own(Simple):
        """Steps alone."""

        own_backward = True

    def losses(view: View, ctx: Context) -> dict[str, Tensor]:
        return {"actor": view.agent.actor.policy(view.observed.states).mean.square()}

    assert found(agent, Own(agent, losses, trains=("actor",))) == ""
    assert isinstance(agent.actor, nn.Module)
