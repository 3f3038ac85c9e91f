"""Recorded episodes in a folder of `.npz` files."""

from reverie import ComponentSpec, hookimpl


@hookimpl
def reverie_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            kind="data",
            name="episodes",
            target="reverie_plugins.episodes.folder:EpisodeFolder",
            config="reverie_plugins.episodes.config:EpisodesConfig",
            summary="a folder of .npz files, one episode each",
        )
    ]
