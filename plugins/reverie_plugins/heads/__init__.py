"""Heads: distributions over a number, read from latent states."""

from reverie import ComponentSpec, hookimpl

_ROOT = "reverie_plugins.heads"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    provides = frozenset({"differentiable"})
    return [
        ComponentSpec(
            kind="head",
            name="two_hot",
            target=f"{_ROOT}.head:TwoHotHead",
            config=f"{_ROOT}.config:TwoHotConfig",
            summary="a number as a distribution over bins, for rewards and values of any size (DreamerV3)",
            provides=provides,
        ),
        ComponentSpec(
            kind="head",
            name="gaussian",
            target=f"{_ROOT}.head:GaussianHead",
            config=f"{_ROOT}.config:GaussianConfig",
            summary="a normal of unit variance, for rewards and values (PlaNet, DreamerV1)",
            provides=provides,
        ),
        ComponentSpec(
            kind="head",
            name="bernoulli",
            target=f"{_ROOT}.head:BernoulliHead",
            config=f"{_ROOT}.config:BernoulliConfig",
            summary="a probability, for the chance that the episode continues",
            provides=provides,
        ),
    ]
