"""The learner of world models: dynamics losses, objectives and the likelihoods of reward and continue heads."""

from reverie import ComponentSpec, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="learner",
            name="world_model",
            target="reverie_plugins.world_model.learner:WorldModel",
            config="reverie_plugins.world_model.config:WorldModelConfig",
            summary="encoder, dynamics, decoders, reward and continue heads by likelihood, with one optimizer",
            provides=frozenset({"gradient"}),
        )
    ]
