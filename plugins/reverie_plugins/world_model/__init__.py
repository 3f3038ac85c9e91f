"""The learner of world models: dynamics losses, objectives and the likelihoods of reward and continue heads."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl

_TARGET = "reverie_plugins.world_model.learner:WorldModel"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="world_model",
            target=_TARGET,
            config="reverie_plugins.world_model.config:WorldModelConfig",
            summary="encoder, dynamics, decoders, reward and continue heads by likelihood, with one optimizer",
            provides=frozenset({"gradient"}),
        )
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """What only a look at the whole recipe can tell about this learner."""
    return [*_discount_of_nothing(recipe), *_discounted_twice(recipe), *_stepped_by_another(recipe)]


def _stepped_by_another(recipe: Any) -> list[Problem]:
    """The loss enters slots that it reaches through states that all learners of a tick share, so that their gradient
    would be added to that of the learner that steps them."""
    configs = {name: recipe.learner_config(name) for name in recipe.group("learners")}
    mine = [name for name, one in recipe.group("learners").items() if one.component.spec.target == _TARGET]
    found = []
    for _, stage in recipe.settings.flat_stages():
        for name in (name for name in stage.learners if name in mine):
            for other in (other for other in stage.learners if other != name and other in configs):
                shared = sorted({*configs[name].reaches} & {*configs[other].trains})
                if shared:
                    found.append(
                        Problem(
                            f"stage {stage.name}: learners/{name} reaches {', '.join(shared)}, which learners/{other} "
                            "trains",
                            recipe.places.get(f"learners.{name}.reaches", ""),
                            f"learners.{name}.reaches",
                            "the gradient of both would step it",
                            f"let the two learn in different stages, or take it out of learners.{name}.reaches",
                        )
                    )
    return found


def _discount_of_nothing(recipe: Any) -> list[Problem]:
    """A discount in the target of a continue head that is not there discounts nothing."""
    if "heads/continue" in recipe.choices:
        return []
    return [
        Problem(
            f"learners/{name} folds a discount of {factor} into the target of the continue head, and there is none",
            recipe.places.get(f"learners.{name}.continue_discount", ""),
            f"learners.{name}.continue_discount",
            "nothing would be discounted by it",
            f"write learners.{name}.continue_discount=1, and the discount where returns are made, such as "
            f"learners.behaviour.discount={factor}",
        )
        for name, learner in recipe.group("learners").items()
        if (factor := getattr(learner.config, "continue_discount", 1.0)) < 1
    ]


def _discounted_twice(recipe: Any) -> list[Problem]:
    """A planner whose continue head has a discount in its target must not discount again (note 15)."""
    planner = recipe.choices.get("planner")
    if planner is None or "heads/continue" not in recipe.choices:
        return []
    from reverie import PlannerConfig

    if not isinstance(planner.config, PlannerConfig) or not planner.config.continues or planner.config.discount == 1:
        return []
    return [
        Problem(
            f"planner ({planner.name}) discounts by {planner.config.discount}, and the continue head that it weighs "
            f"steps by is trained on a target that contains {learner.config.continue_discount} already",
            recipe.places.get("planner.discount") or recipe.places.get("planner.name", ""),
            "planner.discount",
            "what follows would be discounted twice, by their product",
            f"write planner.discount=1, or learners.{name}.continue_discount=1",
        )
        for name, learner in recipe.group("learners").items()
        if getattr(learner.config, "continue_discount", 1.0) < 1
    ]
