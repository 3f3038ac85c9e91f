"""A value of states learned from what really happened, for planners that look further than they imagine."""

from reverie import ComponentSpec, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="replayed_value",
            target="reverie_plugins.replayed_value.learner:ReplayedValue",
            config="reverie_plugins.replayed_value.config:ReplayedValueConfig",
            summary="fits heads/value to lambda-returns of replayed steps: what a planner adds behind its horizon",
            provides=frozenset({"gradient"}),
        )
    ]
