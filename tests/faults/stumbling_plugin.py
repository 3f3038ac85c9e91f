"""A one-file plugin for tests: an environment that stumbles in some of its episodes, and a learner whose loss does.

What goes wrong is a function of the episode's seed and step, so that a resumed run stumbles where the first one did.
"""

import os
import signal
import time
from typing import Literal

import gymnasium as gym
import numpy as np
import torch

from reverie import ComponentSpec, Config, LearnerConfig, hookimpl
from reverie.contracts import ActionSpec, ArraySpec, EnvironmentFactory, Learner, ObservationSpec, Transition


class StumblingConfig(Config):
    """Options of the environment."""

    fault: Literal["none", "raise", "reset", "not_a_number", "reward", "sleep", "kill"] = "none"
    """What goes wrong."""
    every: int = 3
    """In episodes whose seed this divides."""
    step: int = 4
    """In this step."""
    limit: int = 9
    """Steps of an episode."""
    offers: bool = False
    """Offer `get_state` and `set_state`."""
    forgets: bool = False
    """Take no notice of the seed, so that an episode cannot be played again."""


class Walk(gym.Env):
    """A point pushed about by the action and by the environment's own noise."""

    def __init__(self, config):
        self.config = config
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.x, self.count, self.bad = 0.0, 0, False
        if config.offers:
            self.get_state, self.set_state = self._get, self._set

    def _get(self):
        return {"x": self.x, "count": self.count, "bad": self.bad}

    def _set(self, state):
        self.x, self.count, self.bad = state["x"], state["count"], state["bad"]

    def _shown(self):
        return {"state": np.array([self.x, self.count / 10], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=None if self.config.forgets else seed)
        self.bad = self.config.fault != "none" and seed is not None and seed % self.config.every == 0
        if self.bad and self.config.fault == "reset":
            raise RuntimeError("the simulator did not come up")
        self.x, self.count = float(self.np_random.uniform(-1, 1)), 0
        return self._shown(), {}

    def step(self, action):
        self.count += 1
        self.x += 0.1 * float(action[0]) + 0.05 * float(self.np_random.normal())
        reward = -abs(self.x)
        if self.bad and self.count == self.config.step:
            if self.config.fault == "raise":
                raise ZeroDivisionError("the simulator divided by zero")
            if self.config.fault == "not_a_number":
                self.x = float("nan")
            if self.config.fault == "reward":
                reward = float("inf")
            if self.config.fault == "sleep":
                time.sleep(3600)
            if self.config.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return self._shown(), reward, False, self.count == self.config.limit, {}


class StumblingFactory(EnvironmentFactory):
    """Makes walks."""

    def __init__(self, config):
        super().__init__(config)
        self.observation = ObservationSpec({"state": ArraySpec((2,), "float32")})
        self.action = ActionSpec("continuous", 1)

    def make(self, index=0, *, render=False):
        return Walk(self.config)


class MoodyConfig(LearnerConfig):
    """Options of the learner."""

    trains: tuple[str, ...] = ("heads/reward",)
    every: int = 5
    """Updates whose number leaves 3 when divided by this are not finite."""
    mood: Literal["loss", "gradient"] = "loss"
    """What is not finite in them."""


class Moody(Learner):
    """Learns the reward from fixed features. Its scale, a buffer, takes what it sees before anybody can check it."""

    def __init__(self, config, agent):
        super().__init__(config, agent)
        self.register_buffer("scale", torch.ones(()))
        self.optimizer = torch.optim.Adam(self.trained(agent), lr=1e-3)

    def optimizers(self):
        return [self.optimizer]

    def losses(self, view, ctx):
        latent = view.observed.train.detach()
        error = -view.agent.heads["reward"](Transition(None, None, latent)).log_prob(view.batch.reward)  # (B, T)
        if ctx.counters.updates % self.config.every == 3:
            nothing = error.sum() * 0
            error = error * float("inf") if self.config.mood == "loss" else error + torch.sqrt(nothing * nothing)
            self.scale.mul_(float("nan"))
        self.scale.mul_(0.9).add_(0.1 * error.detach().mean())
        ctx.log("scale", self.scale)
        return {"reward": error}


@hookimpl
def reverie_components():
    return [
        ComponentSpec("env", "stumbling", f"{__name__}:StumblingFactory", f"{__name__}:StumblingConfig", "stumbles"),
        ComponentSpec("learner", "moody", f"{__name__}:Moody", f"{__name__}:MoodyConfig", "is not always finite"),
    ]
