"""The `gym` component: makes registered Gymnasium environments in the standard form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
from numpy.typing import NDArray

from reverie import PluginError, ReverieError
from reverie.contracts import EnvironmentFactory
from reverie_plugins.gym.adapters import adapt, arguments_of, own_limit, without_model_warnings
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.families import ensure_registered
from reverie_plugins.gym.headless import draw_without_display
from reverie_plugins.gym.rendering import Poser, draw_grid, labels_of
from reverie_plugins.gym.wrapper import StandardForm


class GymEnvironment(EnvironmentFactory):
    """Environments of one registered id. Building it makes one environment to read its spaces, and closes it again.

    `time_limit` is the number of frames after which an episode is cut, whoever does it; None where nobody does.

    Raises:
        PluginError: when the id is unknown, its library is missing, or the environment cannot be built.
        EnvironmentFault: when its spaces cannot be brought into the standard form, naming the space.
    """

    def __init__(self, config: GymConfig) -> None:
        super().__init__(config)
        self.config: GymConfig = config
        self.action_repeat = config.action_repeat
        self._poser: Poser | None = None
        env = self._make(render=False)
        self.observation, action = env.specs
        self.action = replace(action, repeat=config.action_repeat)
        limits = (own_limit(env, config.id), env.spec.max_episode_steps if env.spec else None)
        self.time_limit = min((limit for limit in limits if limit is not None), default=None)
        env.close()

    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        return self._make(render=render)

    def render_observation(self, obs: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        if (grid := draw_grid(self.config, obs)) is not None:
            return grid
        if self._poser is None:
            self._poser = Poser(self.config)
        return self._poser.draw(obs)

    def entry_labels(self, key: str) -> Sequence[str] | None:
        return labels_of(self.config, key)

    def _make(self, *, render: bool) -> StandardForm:
        config = self.config
        ensure_registered(config.id)
        drawn = render or config.pixels is not None
        if drawn and config.id.startswith("dm_control/"):
            draw_without_display(config.id)
        try:
            with without_model_warnings():
                env: gym.Env[Any, Any] = gym.make(
                    config.id,
                    max_episode_steps=config.time_limit,
                    disable_env_checker=True,
                    render_mode="rgb_array" if drawn else None,
                    **arguments_of(config, drawn),
                )
        except ReverieError:
            raise
        except Exception as error:
            raise PluginError(f"env: '{config.id}' cannot be built: {type(error).__name__}: {error}") from error
        return StandardForm(adapt(env, config), config)
