"""The learner of world models: dynamics losses, objectives and the likelihoods of reward and continue heads."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="world_model",
            target="reverie_plugins.world_model.learner:WorldModel",
            config="reverie_plugins.world_model.config:WorldModelConfig",
            summary="encoder, dynamics, decoders, reward and continue heads by likelihood, with one optimizer",
            provides=frozenset({"gradient"}),
        )
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
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
