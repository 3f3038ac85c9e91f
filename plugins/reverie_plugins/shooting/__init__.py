"""Planners that sample action sequences and score them in imagination: random shooting and the cross-entropy method."""

from reverie import ComponentSpec, Needs, hookimpl

BOTH = frozenset({"continuous", "discrete"})


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="planner",
            name="random_shooting",
            target="reverie_plugins.shooting.random_shooting:RandomShooting",
            config="reverie_plugins.shooting.config:RandomShootingConfig",
            summary="uniformly random plans; the best one's first action",
            provides=BOTH,
            needs=Needs(slots=("heads/reward",)),
        ),
        ComponentSpec(
            kind="planner",
            name="cem",
            target="reverie_plugins.shooting.cem:CEM",
            config="reverie_plugins.shooting.config:CEMConfig",
            summary="cross-entropy method (PlaNet's by default); Gaussian or categorical, by the action space",
            provides=BOTH,
            needs=Needs(slots=("heads/reward",)),
        ),
    ]
