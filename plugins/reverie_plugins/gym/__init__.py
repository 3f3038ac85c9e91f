"""Gymnasium environments: any registered id, DeepMind Control through shimmy, and small ones of our own."""

from reverie import ComponentSpec, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="env",
            name="gym",
            target="reverie_plugins.gym.factory:GymEnvironment",
            config="reverie_plugins.gym.config:GymConfig",
            summary="any registered Gymnasium environment, DeepMind Control included",
        ),
        ComponentSpec(
            kind="data",
            name="minari",
            target="reverie_plugins.gym.minari:MinariData",
            config="reverie_plugins.gym.config:MinariConfig",
            summary="a local Minari data set",
            extra="minari",
        ),
    ]
