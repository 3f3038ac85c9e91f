"""The real environment with the spaces of the dream: where a policy that was trained in the dream is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from numpy.typing import NDArray

from reverie.contracts.latent import Latent
from reverie.dreaming.model import DreamModel
from reverie.dreaming.options import DreamOptions, Observation
from reverie.dreaming.spaces import action_space, encoded, latent_space, observation_space, shown
from reverie.dreaming.starts import first_rows
from reverie.evaluation.episodes import checked
from reverie.evaluation.reopen import Opened, reopen

Array = NDArray[Any]


class RealEnv(gym.Env[Any, Any]):
    """A run's real environment, observed as its dream is: `gymnasium.make("reverie/Real-v0", run=...)`.

    Args:
        run: the folder of a run, or one that was opened.
        observation: `decoded` shows what the environment shows; `latent` the features of the model's filtered state.
        render_mode: `rgb_array` or None.
        checkpoint: by name; the newest by default.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - declared by Gymnasium

    def __init__(
        self,
        run: Path | str | Opened,
        *,
        observation: Observation = "decoded",
        render_mode: str | None = None,
        checkpoint: str | None = None,
    ) -> None:
        options = DreamOptions(observation=observation)
        opened = run if isinstance(run, Opened) else reopen(run, checkpoint=checkpoint)
        self._model = DreamModel(opened)
        agent = self._model.agent
        self._latent = options.observation == "latent"
        self._environment = checked(opened.factory, 0, render=render_mode is not None)
        self._generator = torch.Generator()
        self._state: Latent | None = None
        self.render_mode = render_mode
        size = agent.dynamics.feature_size
        self.observation_space = latent_space(size) if self._latent else observation_space(agent.observation)
        self.action_space = action_space(agent.action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        obs, _ = self._environment.reset(seed=seed)
        self._generator.manual_seed(int(self.np_random.integers(2**31)))
        self._state = None
        return self._seen(obs, None), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        spec = self._model.agent.action
        taken = encoded(action, spec, 1)  # (1, A)
        obs, reward, terminated, truncated, info = self._environment.step(
            int(taken[0].argmax()) if spec.is_discrete else taken[0]
        )
        return self._seen(obs, taken), reward, terminated, truncated, info

    def render(self) -> Any:
        return self._environment.render() if self.render_mode is not None else None

    def close(self) -> None:
        self._environment.close()

    def _seen(self, obs: dict[str, Array], action: Array | None) -> Any:
        """What the agent sees; the action (1, A) led here, None where nothing did."""
        if not self._latent:
            return shown(obs)
        rows = first_rows(obs, self._model.agent.action.size)
        led = rows.action if action is None else torch.from_numpy(action)[None]  # (1, 1, A)
        first = rows.is_first if action is None else ~rows.is_first
        self._state = self._model.watch(rows.obs, led, first, [self._generator], self._state)
        return self._model.features(self._state)[0]
