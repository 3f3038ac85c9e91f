"""Values of states for planners that look further than they imagine: from what happened, or from the model alone."""

from reverie import ComponentSpec, hookimpl

_ROOT = "reverie_plugins.values"


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
            config=f"{_ROOT}.config:FittedValueConfig",
            summary="fits heads/value to the best of short imagined plans: value iteration in the world model",
            provides=frozenset({"gradient"}),
        ),
    ]
