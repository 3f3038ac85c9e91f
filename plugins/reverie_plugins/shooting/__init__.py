"""Planners that make candidate plans, score them in imagination and fit better ones to the best."""

from typing import Any

from reverie import ComponentSpec, Needs, Problem, hookimpl

_ROOT = "reverie_plugins.shooting"
_CONTINUOUS = frozenset({"continuous"})
_BOTH = frozenset({"continuous", "discrete"})


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="planner",
            name="random_shooting",
            target=f"{_ROOT}.random_shooting:RandomShooting",
            config=f"{_ROOT}.config:RandomShootingConfig",
            summary="uniformly random plans; the best one's first action",
            provides=_BOTH,
        ),
        ComponentSpec(
            kind="planner",
            name="cem",
            target=f"{_ROOT}.cem:CEM",
            config=f"{_ROOT}.config:CEMConfig",
            summary="cross-entropy method (PlaNet's by default); Gaussian or categorical, by the action space",
            provides=_BOTH,
        ),
        ComponentSpec(
            kind="planner",
            name="icem",
            target=f"{_ROOT}.icem:ICEM",
            config=f"{_ROOT}.config:ICEMConfig",
            summary="improved cross-entropy method: coloured noise, elites that are kept, for few candidates",
            provides=_CONTINUOUS,
        ),
        ComponentSpec(
            kind="planner",
            name="mppi",
            target=f"{_ROOT}.mppi:MPPI",
            config=f"{_ROOT}.config:MPPIConfig",
            summary="path integral control as in TD-MPC2: elites weighted by score, proposals of an actor",
            provides=_CONTINUOUS,
        ),
        ComponentSpec(
            kind="planner",
            name="guided",
            target=f"{_ROOT}.guided:Guided",
            config=f"{_ROOT}.config:GuidedConfig",
            summary="policy-guided shooting: plans drawn from the actor, judged by the world model",
            provides=_BOTH,
            needs=Needs(provides={"actor": ("proposal",)}),
        ),
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """A cost head that the planner's score would not read is a mistake, unless the recipe says that it is meant."""
    planner = recipe.choices.get("planner")
    if "heads/cost" not in recipe.choices or planner is None:
        return []
    from reverie import PlannerConfig

    if not isinstance(planner.config, PlannerConfig):
        return []
    if planner.config.score_by != "reward" or "score_by" in planner.config.model_fields_set:
        return []
    return [
        Problem(
            f"heads/cost is not read: planner ({planner.name}) judges plans by rewards alone",
            recipe.places.get("heads.cost.name", ""),
            "planner.score_by",
            fix="set planner.score_by to cost or to reward_minus_cost, or to reward if this is meant",
        )
    ]
