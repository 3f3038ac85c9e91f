"""The learner of behaviour: an actor and a critic that learn from imagined trajectories."""

from collections.abc import Iterator
from typing import Any

from reverie import ComponentSpec, Needs, Problem, hookimpl

_CONFIG = "reverie_plugins.dreamer.config:DreamerConfig"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="dreamer",
            target="reverie_plugins.dreamer.learner:ActorCritic",
            config=_CONFIG,
            summary="an actor and a critic trained on imagined trajectories (Dreamer V1 to V3, by options)",
            provides=frozenset({"gradient"}),
            needs=Needs(slots=("actor", "heads/reward", "heads/value")),
        )
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """The discount belongs into one place: the continue target or this learner (note 15)."""
    learners = recipe.group("learners")
    behaviours = {name: one.config for name, one in learners.items() if one.component.spec.config == _CONFIG}
    folded = {name: getattr(one.config, "continue_discount", 1.0) for name, one in learners.items()}
    model, factor = next(((name, value) for name, value in folded.items() if value < 1), ("", 1.0))
    return [
        *(
            problem
            for name, config in behaviours.items()
            for problem in _discounts(recipe, name, config, model, factor)
        ),
        *(problem for name, config in behaviours.items() for problem in _too_late(recipe, name, config)),
        *(problem for name, config in behaviours.items() for problem in _too_short(recipe, name, config)),
    ]


def _too_short(recipe: Any, name: str, config: Any) -> Iterator[Problem]:
    """Returns of replayed steps begin at the second."""
    for key in recipe.settings.short_chunks(name, least=2) if config.replay_value else ():
        what = f"the critic of learners/{name} learns from replayed states, and a chunk of one step has no return"
        yield Problem(what, recipe.place(key), key, fix=f"write {key}=2 or more, or learners.{name}.replay_value=0")


def _too_late(recipe: Any, name: str, config: Any) -> Iterator[Problem]:
    """The critic's gradient cannot enter a model whose learner keeps an average: that one has stepped before."""
    if not (config.replay_value and config.replay_value_into_model):
        return
    for other, one in recipe.group("learners").items():
        trained = {"encoder", "dynamics"} & {*recipe.learner_config(other).trains}
        if trained and getattr(one.config, "average", None) is not None:
            yield Problem(
                f"the critic of learners/{name} learns from replayed states with its gradient into the model, and "
                f"learners/{other} keeps the average of the model's weights",
                recipe.place(f"learners.{other}.average"),
                f"learners.{other}.average",
                "a learner with an average steps before all others, so that this gradient would come too late",
                f"write learners.{other}.average=null, or learners.{name}.replay_value_into_model=false",
            )


def _discounts(recipe: Any, name: str, config: Any, model: str, factor: float) -> Iterator[Problem]:
    """What is wrong with the discounts of the behaviour learner `name`, if the learner `model` multiplies the continue
    target by `factor`."""
    mine, theirs = f"learners.{name}", f"learners.{model}.continue_discount"
    if factor < 1 and config.discount < 1:
        yield Problem(
            f"learners/{name} discounts by {config.discount}, and the continue head that it reads is trained on a "
            f"target that contains {factor} already",
            recipe.place(theirs),
            theirs,
            "what follows would be discounted twice, by their product",
            f"write {mine}.discount=1, or {theirs}=1",
        )
    elif factor < 1 and config.continues == "mode":
        yield Problem(
            f"learners/{name} takes the continue head for yes or no, and loses the {factor} that its target contains",
            recipe.place(f"{mine}.continues"),
            f"{mine}.continues",
            "nothing would be discounted at all",
            f"write {mine}.continues=mean, or {theirs}=1 and {mine}.discount={factor}",
        )
    env = recipe.choice("env")
    repeat = getattr(env.config, "action_repeat", 1) if env else 1
    whole = config.per_decision(config.discount, repeat) * factor
    replayed = config.discount if config.replay_discount is None else config.replay_discount
    replayed = config.per_decision(replayed, repeat)
    if config.replay_value and abs(replayed - whole) > 1e-6:
        yield Problem(
            f"learners/{name} discounts by {whole:g} in imagination and by {replayed:g} on replayed states",
            recipe.place(f"{mine}.replay_value"),
            f"{mine}.replay_discount",
            "one critic cannot learn two discounts; the continue flags of replayed states are real ones, without any",
            f"write {mine}.replay_discount={whole:g}" + ("" if repeat == 1 else f" and {mine}.discount_per=decision"),
        )
