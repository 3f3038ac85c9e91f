"""Where ids come from: families of environments that must be imported before Gymnasium knows them."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass

import gymnasium as gym

from reverie import PluginError


@dataclass(frozen=True)
class Family:
    """Environments of one library.

    Args:
        prefix: what their ids begin with.
        modules: imported in this order; the last one registers the ids.
        extra: the extra of Reverie that installs them.
    """

    prefix: str
    modules: tuple[str, ...]
    extra: str


FAMILIES = (
    Family("dm_control/", ("dm_control", "shimmy"), "dmc"),
    Family("ALE/", ("ale_py",), "atari"),
    Family("MiniGrid-", ("minigrid",), "minigrid"),
    Family("BabyAI-", ("minigrid",), "minigrid"),
    Family("LunarLander", ("Box2D",), "box2d"),
    Family("BipedalWalker", ("Box2D",), "box2d"),
    Family("CarRacing", ("Box2D",), "box2d"),
)

OWN = {
    "reverie/CartPolePixels-v0": ("reverie_plugins.gym.cartpole:CartPolePixels", 500),
    "reverie/CartPoleDict-v0": ("reverie_plugins.gym.cartpole:CartPoleDict", 500),
}
"""Ids of this plugin's own environments, with their entry points and time limits in frames."""


def ensure_registered(id: str) -> None:
    """Import what registers `id`, and nothing else.

    Raises:
        PluginError: when the library is not installed, with the pip line; for an id that nobody registered, with the
            ids that look like it.
    """
    for family in FAMILIES:
        if id.startswith(family.prefix):
            _import(id, family)
    if id in OWN and id not in gym.registry:
        entry_point, limit = OWN[id]
        gym.register(id, entry_point, max_episode_steps=limit)
    try:
        gym.spec(id)
    except gym.error.Error as error:
        raise PluginError(f"env: no Gymnasium environment '{id}' is registered: {error}") from error


def _import(id: str, family: Family) -> None:
    for module in family.modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # mujoco's window library complains where there is no display
                importlib.import_module(module)
        except ImportError as error:
            raise PluginError(
                f"env: '{id}' needs the package {module}, which cannot be imported ({error})\n"
                f'    fix: pip install "reverie[{family.extra}]"'
            ) from error
    if family.prefix in ("ALE/", "MiniGrid-", "BabyAI-") and id not in gym.registry:
        gym.register_envs(importlib.import_module(family.modules[-1]))
