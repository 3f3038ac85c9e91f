"""The actor network, and the planner that lets it act."""

from reverie import ComponentSpec, Needs, hookimpl

_ROOT = "reverie_plugins.policies"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="actor",
            name="mlp",
            target=f"{_ROOT}.actor:MLPActor",
            config=f"{_ROOT}.config:MLPActorConfig",
            summary="a network over latent states, for continuous and for discrete actions",
            provides=frozenset({"continuous", "discrete", "proposal"}),
        ),
        ComponentSpec(
            kind="planner",
            name="actor",
            target=f"{_ROOT}.planner:ActorPlanner",
            config=f"{_ROOT}.config:ActorPlannerConfig",
            summary="acts with the recipe's actor, without any search",
            provides=frozenset({"continuous", "discrete"}),
            needs=Needs(slots=("actor",)),
        ),
    ]
