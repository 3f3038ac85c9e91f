"""The V of "World Models": a variational autoencoder of single observations, pictures and vectors."""

from reverie import ComponentSpec, Needs, hookimpl

_ROOT = "reverie_plugins.vae"


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="encoder",
            name="vae",
            target=f"{_ROOT}.encoder:VAEEncoder",
            config=f"{_ROOT}.config:VAEEncoderConfig",
            summary="a Gaussian posterior over a small code of one observation (World Models, V)",
            provides=frozenset({"vector", "image", "posterior"}),
        ),
        ComponentSpec(
            kind="decoder",
            name="vae",
            target=f"{_ROOT}.decoder:VAEDecoder",
            config=f"{_ROOT}.config:VAEDecoderConfig",
            summary="observations from the encoder's code, beside encoder `vae`",
            provides=frozenset({"vector", "image"}),
        ),
        ComponentSpec(
            kind="objective",
            name="vae",
            target=f"{_ROOT}.objective:VAELoss",
            config=f"{_ROOT}.config:VAELossConfig",
            summary="reconstruction summed over pixels, and KL to a standard normal with free bits per observation",
            needs=Needs(provides={"encoder": ("posterior",)}),
        ),
    ]
