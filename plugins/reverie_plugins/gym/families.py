"""Where ids come from: families of environments that must be imported before Gymnasium knows them."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import gymnasium as gym

from reverie import PluginError
from reverie_plugins.gym.config import Codes, GymConfig


@dataclass(frozen=True)
class Family:
    """Environments of one library.

    Args:
        prefix: what their ids begin with.
        modules: imported in this order; the last one registers the ids.
        extra: the extra of Reverie that installs them.
        register: function of the last module that registers the ids, where importing it does not.
        codes: image entries whose numbers are codes, with the number of codes in each channel.
        whole_codes: the same where the agent sees the whole grid.
    """

    prefix: str
    modules: tuple[str, ...]
    extra: str
    register: str = ""
    codes: Mapping[str, Codes] = field(default_factory=dict)
    whole_codes: Mapping[str, Codes] = field(default_factory=dict)


# A MiniGrid cell is (object, colour, state): 11 objects, 6 colours, 3 states of a door. With the whole grid in view the
# agent is an object as well, and its state is one of 4 directions.
_CELL: Mapping[str, Codes] = {"image": (11, 6, 3)}
_WHOLE: Mapping[str, Codes] = {"image": (11, 6, 4)}

FAMILIES = (
    Family("dm_control/", ("dm_control", "shimmy"), "dmc"),
    Family("ALE/", ("ale_py",), "atari"),
    Family("MinAtar/", ("minatar", "minatar.gym"), "minatar", register="register_envs"),
    Family("MiniGrid-", ("minigrid",), "minigrid", codes=_CELL, whole_codes=_WHOLE),
    Family("BabyAI-", ("minigrid",), "minigrid", codes=_CELL, whole_codes=_WHOLE),
    Family("LunarLander", ("Box2D",), "box2d"),
    Family("BipedalWalker", ("Box2D",), "box2d"),
    Family("CarRacing", ("Box2D",), "box2d"),
)

OWN = {
    "reverie/CartPolePixels-v0": ("reverie_plugins.gym.cartpole:CartPolePixels", 500),
    "reverie/CartPoleDict-v0": ("reverie_plugins.gym.cartpole:CartPoleDict", 500),
    "reverie/Pendulum-v0": ("reverie_plugins.gym.pendulum:PendulumTask", 200),
    "reverie/PendulumAngle-v0": ("reverie_plugins.gym.pendulum:PendulumAngle", 200),
}
"""Ids of this plugin's own environments, with their entry points and time limits in frames."""


def family_of(id: str) -> Family | None:
    """The library that an id belongs to, where it is one of those above."""
    return next((family for family in FAMILIES if id.startswith(family.prefix)), None)


def codes_of(config: GymConfig) -> Mapping[str, Codes]:
    """Image entries whose numbers are codes: those that the recipe names, or those that are known of the library."""
    if config.one_hot is not None:
        return config.one_hot
    family = family_of(config.id)
    if family is None:
        return {}
    return family.whole_codes if config.view == "whole" else family.codes


def ensure_registered(id: str) -> None:
    """Import what registers `id`, and nothing else.

    Raises:
        PluginError: when the library is not installed, with the pip line; for an id that nobody registered, with the
            ids that look like it.
    """
    family = family_of(id)
    if family is not None:
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
                found = importlib.import_module(module)
        except (ImportError, AttributeError, RuntimeError) as error:
            raise PluginError(_cannot_import(id, module, family, error)) from error
    if family.register and not any(known.startswith(family.prefix) for known in gym.registry):
        getattr(found, family.register)()


def _cannot_import(id: str, module: str, family: Family, error: Exception) -> str:
    missing = isinstance(error, ModuleNotFoundError)
    absent = isinstance(error, ModuleNotFoundError) and error.name == module
    why = "is not installed" if absent else f"cannot be imported ({error})"
    fix = f'pip install "reverie[{family.extra}]"'
    chosen = os.environ.get("MUJOCO_GL")
    if family.extra == "dmc" and chosen and not missing:
        fix = f"unset MUJOCO_GL, which is '{chosen}' here, or install what it draws with (see docs/environments.md)"
    return f"env: '{id}' needs the package {module}, which {why}\n    fix: {fix}"
