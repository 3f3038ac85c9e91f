"""The dream as a Gymnasium environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie.dreaming.dreams import Dreams
from reverie.dreaming.spaces import action_space
from reverie.dreaming.starts import options_of
from reverie.errors import ReverieError, RunError
from reverie.evaluation.reopen import Opened

Array = NDArray[Any]


class DreamEnv(gym.Env[Any, Any]):
    """An episode happens in a run's world model: `gymnasium.make("reverie/Dream-v0", run=...)`.

    Actions are those of the standard form (numbers in [-1, 1], or one choice); rewards are the expected ones; an
    episode ends as the model predicts, or by the time limit. `info["goes_on"]` is the predicted chance to go on.

    Args:
        run: the folder of a run (which is not trusted: nothing in it is executed), or one that was opened.
        render_mode: `rgb_array` or None.
        checkpoint: by name; the newest by default.
        options: those of `reverie.dreaming.options.DreamOptions`: `temperature`, `observation`, `start`,
            `termination`, `threshold`, `time_limit`, `context`.

    Raises:
        RunError: if the run has no world model, no reward head, or lacks what the options ask for.
        ReverieError: for an option that none of this allows.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - declared by Gymnasium

    def __init__(
        self,
        run: Path | str | Opened,
        *,
        render_mode: str | None = None,
        checkpoint: str | None = None,
        **options: Any,
    ) -> None:
        check_render_mode(render_mode)
        self._dreams = Dreams(run, 1, options_of(options), checkpoint)
        refuse_unseen(self._dreams, render_mode)
        self.render_mode = render_mode
        self.observation_space = self._dreams.space
        self.action_space = action_space(self._dreams.agent.action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._dreams.begin(np.zeros(1, np.int64), [self.np_random])
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated, goes_on = self._dreams.step(action, [self.np_random])
        info = {"goes_on": float(goes_on[0])}
        return self._observation(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        return self._dreams.picture(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self._dreams.starts.close()

    def _observation(self) -> Any:
        found = self._dreams.observe()
        return {key: value[0] for key, value in found.items()} if isinstance(found, dict) else found[0]


def check_render_mode(render_mode: str | None) -> None:
    """Refuse what dreams cannot do.

    Raises:
        ReverieError: for another mode than `rgb_array` and None.
    """
    if render_mode not in (None, "rgb_array"):
        raise ReverieError(
            f"a dream is rendered as 'rgb_array', not {render_mode!r}; `reverie play` shows it to a person"
        )


def refuse_unseen(dreams: Dreams, render_mode: str | None) -> None:
    """Refuse to render what nothing decodes.

    Raises:
        RunError: saying so.
    """
    if render_mode is not None and not dreams.model.decodes:
        raise RunError(f"{dreams.model.opened.run} has no decoder, so its dream cannot be rendered")
