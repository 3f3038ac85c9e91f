"""What single and vector environments share: n dreams with their own noise, ends and time limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.contracts.latent import Latent
from reverie.dreaming.model import DreamModel, put_rows
from reverie.dreaming.options import DreamOptions
from reverie.dreaming.scenes import Painter
from reverie.dreaming.spaces import encoded, latent_space, observation_space, shown
from reverie.dreaming.starts import Starts
from reverie.errors import RunError
from reverie.evaluation.reopen import Opened, reopen

Array = NDArray[Any]


class Dreams:
    """n dreams of one run.

    Args:
        run: the folder, or a run that was opened.
        count: n.
        options: of all dreams.
        checkpoint: by name; the newest by default.

    Raises:
        RunError: if the run has no world model, no reward head, or no decoder where observations are decoded.
    """

    def __init__(
        self, run: Path | str | Opened, count: int, options: DreamOptions, checkpoint: str | None = None
    ) -> None:
        opened = run if isinstance(run, Opened) else reopen(run, checkpoint=checkpoint)
        self.model = DreamModel(opened, options.temperature)
        self.options, self.count = options, count
        self.agent = self.model.agent
        if not self.model.rewards:
            raise RunError(f"{opened.run} has no reward head: nothing would be earned in its dream")
        if options.observation == "decoded" and not self.model.decodes:
            raise RunError(f"{opened.run} has no decoder, so its dream cannot be shown; use observation='latent'")
        self.time_limit = options.time_limit or self.model.time_limit
        self.starts = Starts(self.model, options)
        self.painter = Painter(self.agent.observation, opened.factory)
        latent = options.observation == "latent"
        self.space = latent_space(self._features()) if latent else observation_space(self.agent.observation)
        self._generators = [torch.Generator() for _ in range(count)]
        self._state: Latent | None = None
        self._steps = np.zeros(count, np.int64)

    def _features(self) -> int:
        size: int = self.agent.dynamics.feature_size
        return size

    def begin(self, rows: Array, randoms: Sequence[np.random.Generator]) -> None:
        """Begin the dreams `rows` (k,) anew, each by its own generator."""
        for row, random in zip(rows.tolist(), randoms, strict=True):
            self._generators[row].manual_seed(int(random.integers(2**31)))
        fresh = self.starts.draw(randoms, [self._generators[row] for row in rows.tolist()])
        self._state = fresh if len(rows) == self.count else put_rows(self.state, rows, fresh)
        self._steps[rows] = 0

    @property
    def state(self) -> Latent:
        """(n,) latents."""
        if self._state is None:
            raise RunError("a dream is reset before it is looked at or stepped")
        return self._state

    def step(self, actions: Any, randoms: Sequence[np.random.Generator]) -> tuple[Array, Array, Array, Array]:
        """Rewards (n,), true ends (n,), ends by the time limit (n,), and the predicted chances to go on (n,)."""
        dreamt = self.model.step(self.state, encoded(actions, self.agent.action, self.count), self._generators)
        self._state = dreamt.state
        self._steps += 1
        terminated = self._ended(dreamt.goes_on, randoms)
        return dreamt.reward, terminated, (self._steps >= self.time_limit) & ~terminated, dreamt.goes_on

    def observe(self) -> Any:
        """The observations of all dreams as `space` holds them, stacked."""
        if self.options.observation == "latent":
            return self.model.features(self.state)
        return shown(self.model.decoded(self.state))

    def picture(self, row: int) -> Array:
        """(H, W, 3) uint8 of one dream."""
        entries = self.model.decoded(self.state[row : row + 1])
        return self.painter.paint({key: value[0] for key, value in entries.items()})

    def _ended(self, goes_on: Array, randoms: Sequence[np.random.Generator]) -> Array:
        if self.options.termination == "never":
            return np.zeros(self.count, bool)
        if self.options.termination == "threshold":
            return goes_on < self.options.threshold
        drawn = np.array([random.random() for random in randoms])  # each dream's own coin, whatever came before
        return drawn >= goes_on
