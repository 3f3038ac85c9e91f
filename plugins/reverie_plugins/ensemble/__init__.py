"""Probabilistic ensembles: several networks that predict the next observation, and disagree where they know little."""

from typing import Any

from reverie import ComponentSpec, Problem, hookimpl

_CONFIG = "reverie_plugins.ensemble.config:EnsembleConfig"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="dynamics",
            name="ensemble",
            target="reverie_plugins.ensemble.dynamics:Ensemble",
            config=_CONFIG,
            summary="probabilistic ensemble over observations or embeddings (PETS); members: 1 is a single network",
            provides=frozenset({"differentiable", "members", "embedding"}),
        )
    ]


@hookimpl
def reverie_check_recipe(recipe: Any) -> list[Problem]:
    """A risk that nothing can measure is a mistake: one particle never differs from itself."""
    planner, dynamics = recipe.choices.get("planner"), recipe.choices.get("dynamics")
    if planner is None or dynamics is None or dynamics.component.spec.config != _CONFIG:
        return []
    from reverie import PlannerConfig

    if not isinstance(planner.config, PlannerConfig) or not planner.config.risk:
        return []
    if (planner.config.particles or dynamics.config.members) > 1:
        return []
    return [
        Problem(
            f"planner ({planner.name}): `risk` is {planner.config.risk:g}, but every plan is judged by one particle",
            recipe.places.get("planner.risk", recipe.places.get("planner.name", "")),
            "planner.risk",
            "the deviation of one number is 0, so the risk would change nothing",
            "set planner.particles to 2 or more, dynamics.members to 2 or more, or planner.risk=0",
        )
    ]
