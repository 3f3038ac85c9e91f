"""TD-MPC2: an implicit world model, learned by its own predictions and by temporal differences, to plan in."""

from collections.abc import Iterator
from typing import Any

from reverie import ComponentSpec, Needs, Problem, hookimpl

_ROOT = "reverie_plugins.tdmpc2"
_LEARNERS = (f"{_ROOT}.config:TDMPC2Config", f"{_ROOT}.config:PolicyPriorLearnerConfig")


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="dynamics",
            name="implicit",
            target=f"{_ROOT}.dynamics:Implicit",
            config=f"{_ROOT}.config:ImplicitConfig",
            summary="a latent that predicts itself, without a decoder (TD-MPC2): SimNorm, open-loop consistency",
            provides=frozenset({"differentiable", "open_loop"}),
        ),
        ComponentSpec(
            kind="head",
            name="q_ensemble",
            target=f"{_ROOT}.head:QEnsemble",
            config=f"{_ROOT}.config:QEnsembleConfig",
            summary="several values of a state and an action as distributions over bins (TD-MPC2)",
            provides=frozenset({"differentiable", "members"}),
        ),
        ComponentSpec(
            kind="actor",
            name="policy_prior",
            target=f"{_ROOT}.actor:PolicyPrior",
            config=f"{_ROOT}.config:PolicyPriorConfig",
            summary="a squashed Gaussian policy that proposes plans and answers what comes after them (TD-MPC2)",
            provides=frozenset({"continuous", "proposal"}),
        ),
        ComponentSpec(
            kind="learner",
            name="tdmpc2",
            target=f"{_ROOT}.learner:TDMPC2",
            config=_LEARNERS[0],
            summary="world model and Q ensemble by consistency, reward and temporal differences, in one backward pass",
            provides=frozenset({"gradient"}),
            needs=Needs(slots=("actor", "heads/reward", "heads/value")),
        ),
        ComponentSpec(
            kind="learner",
            name="policy_prior",
            target=f"{_ROOT}.prior_learner:PolicyPriorLearner",
            config=_LEARNERS[1],
            summary="an actor that climbs a Q ensemble, which it leaves as it is",
            provides=frozenset({"gradient"}),
            needs=Needs(slots=("actor", "heads/value")),
        ),
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """What the learners need that no capability says: a Q head, chunks with a transition in them, one discount."""
    mine = {
        name: choice.config
        for name, choice in recipe.group("learners").items()
        if choice.component.spec.config in _LEARNERS
    }
    return [problem for name, config in mine.items() for problem in _wrong(recipe, name, config)]


def _wrong(recipe: Any, name: str, config: Any) -> Iterator[Problem]:
    value = recipe.choice("heads/value")
    reads = getattr(value.config, "reads", "before_action") if value else "before_action"
    if reads != "before_action":
        yield Problem(
            f"learners/{name} learns the value of an action, and heads/value ({value.name}) reads {reads!r}",
            recipe.place("heads.value"),
            "heads.value.reads",
            fix="use heads.value=q_ensemble, or write heads.value.reads=before_action",
        )
    if not hasattr(config, "discount"):
        return
    for key in recipe.settings.short_chunks(name, least=2):
        what = f"learners/{name} learns from transitions, and a chunk of one step holds none"
        yield Problem(what, recipe.place(key), key, fix=f"write {key}=4 for the three steps of the paper")
    planner = recipe.choice("planner")
    planned = getattr(planner.config, "discount", None) if planner else None
    learned = config.per_decision
    if planned is not None and abs(planned - learned) > 1e-6:
        yield Problem(
            f"planner ({planner.name}) discounts by {planned:g} and learners/{name} by {learned:g}",
            recipe.place("planner"),
            "planner.discount",
            "the value behind a plan would be weighed against rewards that were discounted otherwise",
            f"write planner.discount={learned:g}",
        )
