"""The recurrent state-space model, with Gaussian or categorical latents."""

from reverie import ComponentSpec, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="dynamics",
            name="rssm",
            target="reverie_plugins.rssm.dynamics:RSSM",
            config="reverie_plugins.rssm.config:RSSMConfig",
            summary="recurrent state-space model of PlaNet and Dreamer (latent: categorical or gaussian)",
            provides=frozenset({"recurrent", "differentiable"}),
        )
    ]
