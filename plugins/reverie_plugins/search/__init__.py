"""Planners that need more of a problem than samples: a gradient, or a tree small enough to try every branch."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl

_ROOT = "reverie_plugins.search"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="planner",
            name="gradient",
            target=f"{_ROOT}.gradient:GradientAscent",
            config=f"{_ROOT}.config:GradientConfig",
            summary="gradient ascent on plans, through a differentiable dynamics",
            provides=frozenset({"continuous"}),
        ),
        ComponentSpec(
            kind="planner",
            name="exhaustive",
            target=f"{_ROOT}.exhaustive:Exhaustive",
            config=f"{_ROOT}.config:ExhaustiveConfig",
            summary="tries every plan; exact, for few discrete actions and short horizons",
            provides=frozenset({"discrete"}),
        ),
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """A tree that is larger than its budget is refused before anything is trained."""
    planner, env = recipe.choices.get("planner"), recipe.choices.get("env")
    if planner is None or env is None or planner.component.spec.config != f"{_ROOT}.config:ExhaustiveConfig":
        return []
    action = env.component.load()(env.config).action
    problem = planner.config.too_large(action.size)
    if not action.is_discrete or problem is None:
        return []
    what, fix = problem
    places = recipe.places
    where = places.get("planner.horizon", places.get("planner.budget", places.get("planner.name", "")))
    return [Problem(f"planner ({planner.name}): {what}", where, "planner.horizon", fix=fix)]
