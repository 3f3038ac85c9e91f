"""Reality and dream side by side under the same actions: what `reverie play` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.assembly.build import NobodyActs
from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Sampling
from reverie.dreaming.keys import Controls, controls_of
from reverie.dreaming.model import DreamModel
from reverie.dreaming.options import DreamOptions
from reverie.dreaming.scenes import Painter
from reverie.dreaming.starts import Starts, first_rows
from reverie.errors import ReverieError, RunError
from reverie.evaluation.episodes import checked
from reverie.evaluation.reopen import Opened
from reverie.evaluation.world_model.rollouts import policy_of

Array = NDArray[Any]

IMAGE_UNIT = 25.5
"""Of brightness, a tenth of the range: what counts as an error of 1 in images."""
ENDS_BELOW = 0.5
"""The predicted chance to go on below which a dream is shown as over."""


@dataclass
class Side:
    """One of the two: its picture (H, W, 3), what it earned, and whether it is over (and how)."""

    picture: Array | None = None
    reward: float = 0.0
    total: float = 0.0
    over: str = ""


@dataclass
class Moment:
    """What is shown now.

    Args:
        step: since the reset.
        real: None in a run without an environment.
        dreamed: the dream.
        errors: of every step so far; not-a-number where there is nothing to compare with.
        parted: the step since which dream and reality differ by more than the threshold, or the dream is over and
            reality is not; None while neither is so.
        woken: steps at which the dream was set to what was really seen.
        goes_on: the chance to go on that the dream predicts.
    """

    step: int = 0
    real: Side | None = None
    dreamed: Side = field(default_factory=Side)
    errors: list[float] = field(default_factory=list)
    parted: int | None = None
    woken: list[int] = field(default_factory=list)
    goes_on: float = 1.0

    @property
    def over(self) -> bool:
        """Whether neither side goes on."""
        return bool(self.dreamed.over) and (self.real is None or bool(self.real.over))


class PlaySession:
    """A person's session in a run.

    Args:
        opened: the run.
        temperature: of the dream, above 0.
        horizon: steps after which the dream is set to what was really seen; 0 never does that.
        threshold: error above which dream and reality have parted. Errors are root mean squares, of vectors in standard
            deviations, of images in tenths of the range of brightness.
        seed: of the first episode.

    Raises:
        RunError: if nothing in the run can be shown.
        ReverieError: for a temperature, horizon or threshold that makes no sense.
    """

    def __init__(
        self, opened: Opened, *, temperature: float = 1.0, horizon: int = 0, threshold: float = 1.0, seed: int = 0
    ) -> None:
        options = DreamOptions(temperature=temperature)
        if threshold <= 0:
            raise ReverieError(f"the threshold of an error is above 0, not {threshold}")
        self.opened, self.agent = opened, opened.agent
        self.model = DreamModel(opened, options.temperature)
        if not self.model.decodes:
            raise RunError(f"{opened.run} has no decoder, so its dream cannot be shown")
        self.controls: Controls = controls_of(self.agent.action)
        self.painter = Painter(self.agent.observation, opened.factory)
        self.threshold, self.seed = threshold, seed
        self.adjust(horizon=horizon)
        self._starts = Starts(self.model, options)
        self._environment = None if opened.plays_nowhere else checked(opened.factory, 0)
        self._generator = torch.Generator()
        self._seen: Latent | None = None
        self.reset(seed)

    @property
    def agent_can_act(self) -> bool:
        """Whether the run has something that acts."""
        return not isinstance(self.agent.planner, NobodyActs)

    def adjust(self, temperature: float | None = None, horizon: int | None = None) -> None:
        """Change how the dream goes on from here.

        Raises:
            ReverieError: for a temperature of 0 or less, or a negative horizon.
        """
        if temperature is not None:
            self.model.temperature = DreamOptions(temperature=temperature).temperature
        if horizon is not None:
            if horizon < 0:
                raise ReverieError(f"the horizon is a number of steps, or 0 for never waking up, not {horizon}")
            self.horizon = horizon

    def reset(self, seed: int | None = None) -> Moment:
        """A new episode; by default with the next seed."""
        self.seed = self.seed + 1 if seed is None else seed
        self._generator.manual_seed(self.seed)
        self._act = policy_of(self.agent, 1) if self.agent_can_act else None
        self.moment = Moment()
        self._slept = 0
        if self._environment is None:
            self._dream = self._starts.draw([np.random.default_rng(self.seed)], [self._generator])
        else:
            obs, _ = self._environment.reset(seed=self.seed)
            self._obs = obs
            self._dream = self._watch(obs, None)
            self.moment.real = Side(self.painter.paint(obs))
        self._show_dream()
        return self.moment

    def step(self, action: Array | None = None) -> Moment:
        """Take an action (A,) on both sides; the run's own agent chooses one where none is given. A side that is over
        stands still."""
        if self.moment.over:
            return self.moment
        if action is None:
            action = self._agent_action()
        self.moment.step += 1
        self._wake()
        if not self.moment.dreamed.over:
            self._step_dream(action)
        if self.moment.real is not None and not self.moment.real.over:
            self._step_real(self.moment.real, action)
        self._compare()
        return self.moment

    def close(self) -> None:
        """End the real environment."""
        self._starts.close()
        if self._environment is not None:
            self._environment.close()

    def _agent_action(self) -> Array:
        if self._act is None:
            raise RunError(f"{self.opened.run} has neither planner nor actor: only a person can act")
        awake = self.moment.real is not None and not self.moment.real.over
        latent = self._seen if awake and self._seen is not None else self._dream
        with torch.inference_mode(not self.agent.planner.differentiates):
            chosen: Array = self._act(latent, Sampling("mode", generators=[self._generator]))[0].float().cpu().numpy()
        return chosen

    def _wake(self) -> None:
        """Set the dream to what was really seen, once it has slept for a horizon."""
        real = self.moment.real
        due = self.horizon and self._slept >= self.horizon and self._seen is not None
        if due and real is not None and not real.over and self._seen is not None:
            self._dream, self._slept, self.moment.parted = self._seen, 0, None
            self.moment.dreamed.over = ""
            self.moment.woken.append(self.moment.step)

    def _step_dream(self, action: Array) -> None:
        dreamt = self.model.step(self._dream, action[None], [self._generator])
        self._dream = dreamt.state
        self._slept += 1
        side = self.moment.dreamed
        side.reward = float(dreamt.reward[0])
        side.total += side.reward
        self.moment.goes_on = float(dreamt.goes_on[0])
        side.over = "it ends" if self.moment.goes_on < ENDS_BELOW else ""
        self._show_dream()

    def _step_real(self, side: Side, action: Array) -> None:
        discrete = self.agent.action.is_discrete
        assert self._environment is not None
        obs, reward, terminated, truncated, _ = self._environment.step(int(action.argmax()) if discrete else action)
        self._obs = obs
        self._watch(obs, action)
        side.picture, side.reward, side.total = self.painter.paint(obs), float(reward), side.total + float(reward)
        side.over = "it ends" if terminated else ("the time is up" if truncated else "")

    def _watch(self, obs: Mapping[str, Array], action: Array | None) -> Latent:
        """Let the model see what really came."""
        rows = first_rows(dict(obs), self.agent.action.size)
        led = rows.action if action is None else torch.from_numpy(np.asarray(action, np.float32))[None, None]
        first = rows.is_first if action is None else ~rows.is_first
        before = None if action is None else self._seen
        self._seen = self.model.watch(rows.obs, led, first, [self._generator], before)
        return self._seen

    def _show_dream(self) -> None:
        self._dreamed = {key: value[0] for key, value in self.model.decoded(self._dream).items()}
        self.moment.dreamed.picture = self.painter.paint(self._dreamed)

    def _compare(self) -> None:
        real, moment = self.moment.real, self.moment
        awake = real is not None and not real.over
        error = self._error() if awake and not moment.dreamed.over else float("nan")
        moment.errors.append(error)
        apart = error > self.threshold or (awake and bool(moment.dreamed.over))
        if apart and moment.parted is None:
            moment.parted = moment.step

    def _error(self) -> float:
        squares = []
        for key, spec in self.agent.observation.items():
            gap = np.asarray(self._obs[key], np.float64) - np.asarray(self._dreamed[key], np.float64)
            if spec.is_image:
                squares.append(np.square(gap / IMAGE_UNIT).mean())
                continue
            known = key in self.agent.normalizers
            scale = self.agent.normalizers[key].std.double().cpu().numpy() if known else np.ones(spec.shape)
            varies = scale > 1e-6
            if varies.any():
                squares.append(np.square(gap[varies] / scale[varies]).mean())
        return float(np.sqrt(np.mean(squares))) if squares else float("nan")
