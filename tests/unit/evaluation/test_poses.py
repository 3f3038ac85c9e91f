"""Pictures of observations equal what the environment itself draws in that state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reverie.evaluation.dream import pictures_of
from reverie.evaluation.dreaming import Dream
from reverie.evaluation.recording import Recording
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment
from reverie_plugins.gym.rendering import Poser, labels_of

IDS = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"]


@pytest.mark.parametrize("env_id", IDS)
def test_a_pose_looks_like_the_environment(env_id: str) -> None:
    env: Any = gym.make(env_id, render_mode="rgb_array")
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    poser, pictures = Poser(GymConfig(id=env_id)), []
    for _ in range(5):
        for _ in range(4):
            obs, _, terminated, _, _ = env.step(env.action_space.sample())
            if terminated:
                obs, _ = env.reset()
        env.unwrapped.last_u = None  # the pendulum's arrow shows the torque, which is no part of the state
        drawn = poser.draw({"state": obs})
        assert drawn is not None
        assert drawn.dtype == np.uint8
        # float32 observations may round an edge to the neighbouring pixel
        assert (np.abs(drawn.astype(int) - env.render()).max(-1) > 8).mean() < 2e-3
        pictures.append(drawn)
    assert any((pictures[0] != other).any() for other in pictures[1:])
    poser.close()
    env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_there_is_a_label_for_each_element(env_id: str) -> None:
    factory = GymEnvironment(GymConfig(id=env_id))
    labels = factory.entry_labels("state")
    assert labels is not None
    assert len(labels) == factory.observation["state"].shape[0] == len(set(labels))


def test_hidden_velocities_do_not_prevent_a_picture() -> None:
    masked, full = GymConfig(id="CartPole-v1", hide={"state": (1, 3)}), GymConfig(id="CartPole-v1")
    assert labels_of(masked, "state") == ["cart position", "pole angle"]
    seen = GymEnvironment(masked).render_observation({"state": np.array([0.5, 0.1])})
    whole = GymEnvironment(full).render_observation({"state": np.array([0.5, 9.0, 0.1, 9.0])})
    assert seen is not None
    assert whole is not None
    assert (seen == whole).all()


@pytest.mark.parametrize(
    ("config", "obs"),
    [
        (GymConfig(id="CartPole-v1", hide={"state": (2,)}), {"state": np.zeros(3)}),
        (GymConfig(id="CartPole-v1", hide={"state": "all"}, pixels=32), {"image": np.zeros((32, 32, 3), np.uint8)}),
        (GymConfig(id="FrozenLake-v1"), {"state": np.zeros(16)}),
        (GymConfig(id="CartPole-v1"), {"state": np.array([0.0, 0.0, np.nan, 0.0])}),
    ],
)
def test_what_cannot_be_drawn_is_not(config: GymConfig, obs: dict[str, Any]) -> None:
    assert Poser(config).draw(obs) is None


def dream_of_pictures(channels: int) -> Dream:
    """Three rows of 10 x 10 cells: channel 0 lit in reality, and half as bright in the dream."""
    real = np.zeros((3, 10, 10, channels), np.uint8)
    real[:, :, :, 0] = 255
    still = Recording({"image": real}, np.zeros((3, 3)), np.zeros(3), np.zeros(3, bool), 0)
    return Dream(still, 1, {"image": real // 2}, None, None, None)


def test_channels_that_are_no_colours_are_drawn_by_the_environment() -> None:
    pytest.importorskip("minatar")
    factory, dreamt = GymEnvironment(GymConfig(id="MinAtar/Breakout-v1")), dream_of_pictures(4)
    (found,) = pictures_of(dreamt, factory)
    assert found.name == "state"
    assert found.real[0].shape == (80, 80, 3)
    assert (found.real[0] == factory.render_observation({"image": dreamt.real.obs["image"][0]})).all()
    assert found.real[0].astype(int).sum() > found.dreamed[0].astype(int).sum()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_shown_as_they_are(channels: int) -> None:
    """Also where channels are no colours and the environment cannot draw them."""
    (found,) = pictures_of(dream_of_pictures(channels), GymEnvironment(GymConfig(id="CartPole-v1")))
    assert found.name == "image"
    assert found.real[0].shape == (10, 10, channels)
