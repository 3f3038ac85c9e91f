"""The learner of behaviour: an actor and a critic that see nothing but imagined trajectories."""

from reverie import ComponentSpec, Needs, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="dreamer",
            target="reverie_plugins.dreamer.learner:ActorCritic",
            config="reverie_plugins.dreamer.config:DreamerConfig",
            summary="an actor and a critic trained on imagined trajectories (Dreamer V1 to V3, by options)",
            provides=frozenset({"gradient"}),
            needs=Needs(slots=("actor", "heads/reward", "heads/value")),
        )
    ]
