"""The C of "World Models": a linear controller, and CMA-ES that evolves it, in dreams or in the real environment."""

from reverie import ComponentSpec, Needs, hookimpl

_ROOT = "reverie_plugins.evolution"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="actor",
            name="linear",
            target=f"{_ROOT}.actor:LinearActor",
            config=f"{_ROOT}.config:LinearActorConfig",
            summary="one linear layer on the features of the latent state (World Models, C)",
            provides=frozenset({"continuous", "discrete", "proposal"}),
        ),
        ComponentSpec(
            kind="learner",
            name="evolution",
            target=f"{_ROOT}.learner:Evolution",
            config=f"{_ROOT}.config:EvolutionConfig",
            summary="CMA-ES on the actor's weights, by returns in dreams, in the real environment, or both",
            provides=frozenset({"evolution"}),
            needs=Needs(slots=("actor",)),
        ),
    ]
