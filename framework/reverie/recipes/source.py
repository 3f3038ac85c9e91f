"""What Hydra sees: the files of one chain, and for every component a config that holds its name and nothing else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins as HydraPlugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from reverie.recipes.slots import OPTION, kind_of

Served = Mapping[str, Mapping[str, Any]]
"""Config path (`recipe`, `parent_1`, `env/cartpole`) to its content, defaults list included."""

_served: Served | None = None
_lock = RLock()


class ReverieSource(ConfigSource):
    """Serves `{name: X}` for `<slot>/X`, unless the chain has a file there. Nothing is listed or imported."""

    @staticmethod
    def scheme() -> str:
        return "reverie"

    def available(self) -> bool:
        return _served is not None

    def is_group(self, config_path: str) -> bool:
        return kind_of(config_path) is not None

    def is_config(self, config_path: str) -> bool:
        return config_path in (_served or {}) or _component(config_path) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        content = (_served or {}).get(config_path)
        if content is None:
            content = {"name": _component(config_path)}
        config = OmegaConf.create(dict(content))
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header={"package": None})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []


def _component(config_path: str) -> str | None:
    """The component that a config path names: `rssm` of `dynamics/rssm`, `two_hot` of `heads/reward/two_hot`."""
    parts = config_path.split("/")
    for length in (1, 2):
        name = "/".join(parts[length:])
        if kind_of("/".join(parts[:length])) and OPTION.fullmatch(name):
            return name
    return None


class ReverieSearchPath(SearchPathPlugin):
    """Puts the source in front while a recipe is being composed, and stays out of everybody else's Hydra apps."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if _served is not None:
            search_path.prepend(provider="reverie", path="reverie://")


@contextmanager
def serving(configs: Served) -> Iterator[None]:
    """Inside, Hydra finds these configs. One composition at a time, whatever the number of threads."""
    global _served
    with _lock:
        plugins = HydraPlugins.instance()
        plugins.register(ReverieSource)
        plugins.register(ReverieSearchPath)
        _served = configs
        try:
            yield
        finally:
            _served = None
