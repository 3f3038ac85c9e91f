"""Many dreams in one batch, as a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from reverie.dreaming.dreams import Dreams
from reverie.dreaming.env import check_render_mode, refuse_unseen
from reverie.dreaming.spaces import action_space
from reverie.dreaming.starts import options_of
from reverie.errors import ReverieError
from reverie.evaluation.reopen import Opened

Array = NDArray[Any]


class DreamVectorEnv(VectorEnv[Any, Any, Any]):
    """n dreams, imagined together: `gymnasium.make_vec("reverie/Dream-v0", num_envs=n, run=...)`.

    Row i with seed s dreams what a single `DreamEnv` with seed s dreams. As Gymnasium's own vector environments do, a
    dream that ended begins anew in the next step, whose action it ignores (`AutoresetMode.NEXT_STEP`).

    Args:
        run: the folder of a run, or one that was opened.
        num_envs: n.
        render_mode, checkpoint, options: as for `DreamEnv`.
    """

    metadata = {  # noqa: RUF012 - declared by Gymnasium
        "render_modes": ["rgb_array"],
        "render_fps": 30,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        run: Path | str | Opened,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        checkpoint: str | None = None,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ReverieError(f"a vector of dreams holds at least one, not {num_envs}")
        check_render_mode(render_mode)
        self._dreams = Dreams(run, num_envs, options_of(options), checkpoint)
        refuse_unseen(self._dreams, render_mode)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = self._dreams.space
        self.single_action_space = action_space(self._dreams.agent.action)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._randoms: list[np.random.Generator] = []
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin every dream anew.

        Args:
            seed: of the first dream, the others follow (s, s + 1, ...); or one per dream.
            options: nothing is read from it.
        """
        seeds = [None if seed is None else seed + i for i in range(self.num_envs)] if _single(seed) else list(seed)  # type: ignore[arg-type, operator]
        if len(seeds) != self.num_envs:
            raise ReverieError(f"{len(seeds)} seeds for {self.num_envs} dreams")
        fresh = [gym.utils.seeding.np_random(one)[0] if one is not None or not self._randoms else None for one in seeds]
        self._randoms = [new if new is not None else self._randoms[i] for i, new in enumerate(fresh)]
        self._begin(np.arange(self.num_envs))
        return self._dreams.observe(), {}

    def step(self, actions: Any) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        again = np.flatnonzero(self._over)
        reward, terminated, truncated, goes_on = self._dreams.step(actions, self._randoms)
        if len(again):
            reward[again], goes_on[again] = 0.0, 1.0
            terminated[again] = truncated[again] = False
            self._begin(again)
        self._over = terminated | truncated
        return self._dreams.observe(), reward, terminated, truncated, {"goes_on": goes_on}

    def render(self) -> tuple[Any, ...] | None:
        if self.render_mode is None:
            return None
        return tuple(self._dreams.picture(row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """End the real environment, where dreams begin in one."""
        self._dreams.starts.close()

    def _begin(self, rows: Array) -> None:
        self._dreams.begin(rows, [self._randoms[row] for row in rows.tolist()])
        self._over[rows] = False


def _single(seed: Any) -> bool:
    return seed is None or isinstance(seed, int | np.integer)
