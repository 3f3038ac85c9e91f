"""Values of states for planners that look further than they imagine: from what happened, or from the model alone."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl

_ROOT = "reverie_plugins.values"
_FITTED = f"{_ROOT}.config:FittedValueConfig"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="replayed_value",
            target=f"{_ROOT}.replayed:ReplayedValue",
            config=f"{_ROOT}.config:ReplayedValueConfig",
            summary="fits heads/value to lambda-returns of replayed steps: what the behaviour so far was worth",
            provides=frozenset({"gradient"}),
        ),
        ComponentSpec(
            kind="learner",
            name="fitted_value",
            target=f"{_ROOT}.fitted:FittedValue",
            config=_FITTED,
            summary="fits heads/value to the best of short imagined plans: value iteration in the world model",
            provides=frozenset({"gradient"}),
        ),
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """Values made in the model are weighed by the continue head: the discount belongs into one place (note 15)."""
    learners = recipe.group("learners")
    folded = {name: getattr(one.config, "continue_discount", 1.0) for name, one in learners.items()}
    return [
        Problem(
            f"learners/{name} discounts by {one.config.discount}, and the continue head that it weighs steps by is "
            f"trained on a target that contains {factor} already",
            recipe.places.get(f"learners.{model}.continue_discount", ""),
            f"learners.{model}.continue_discount",
            "what follows would be discounted twice, by their product",
            f"write learners.{name}.discount=1, or learners.{model}.continue_discount=1",
        )
        for name, one in learners.items()
        if one.component.spec.config == _FITTED and one.config.discount < 1
        for model, factor in folded.items()
        if factor < 1
    ]
