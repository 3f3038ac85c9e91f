"""The pendulum's second tasks: the same physics, another goal, or another rod and the physics that follow from it."""

import math

import numpy as np
import pytest

from reverie.errors import ReverieError
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment
from reverie_plugins.gym.pendulum import PendulumAngle, PendulumTask


def step(env: PendulumTask, angle: float, velocity: float, torque: float) -> tuple[np.ndarray, float]:
    env.reset(seed=0)
    env.state = np.array([angle, velocity])
    obs, reward, terminated, truncated, _ = env.step(np.array([torque], np.float32))
    assert not terminated
    assert not truncated
    return obs, reward


@pytest.mark.parametrize(("angle", "velocity", "torque"), [(0.0, 0.0, 0.0), (3.0, -2.0, 1.0), (-2.9, 5.0, -9.0)])
def test_the_original_task_is_gymnasiums_own(angle: float, velocity: float, torque: float) -> None:
    import gymnasium as gym

    theirs = gym.make("Pendulum-v1").unwrapped
    theirs.reset(seed=0)
    theirs.state = np.array([angle, velocity])
    expected = theirs.step(np.array([torque], np.float32))
    obs, reward = step(PendulumTask(), angle, velocity, torque)
    np.testing.assert_allclose(obs, expected[0], rtol=1e-6)
    assert reward == pytest.approx(float(expected[1]), rel=1e-6)


def test_the_goal_is_where_nothing_is_lost_and_goes_round_the_circle() -> None:
    assert step(PendulumTask(goal=0.35), 0.35, 0.0, 0.0)[1] == pytest.approx(0.0)
    assert step(PendulumTask(goal=3.0), -3.0, 0.0, 0.0)[1] == pytest.approx(-((2 * math.pi - 6.0) ** 2))
    assert step(PendulumTask(goal=0.35), 0.0, 2.0, 1.0)[1] == pytest.approx(-(0.35**2 + 0.4 + 0.001))


def test_a_goal_within_reach_can_be_held() -> None:
    torque = -5.0 * math.sin(0.35)  # against gravity: 3 g / (2 l) sin + 3 / (m l^2) torque = 0
    assert abs(torque) < 2.0
    obs, _ = step(PendulumTask(goal=0.35), 0.35, 0.0, torque)
    np.testing.assert_allclose(obs, [math.cos(0.35), math.sin(0.35), 0.0], atol=1e-6)


def test_mass_and_length_enter_the_physics() -> None:
    """Acceleration: 3 g / (2 l) sin(angle) + 3 / (m l^2) torque, over 0.05 s."""
    obs, _ = step(PendulumTask(mass=1.5, length=0.8), 0.5, 1.0, 1.0)
    assert float(obs[2]) == pytest.approx(1.0 + 0.05 * (15 / 0.8 * math.sin(0.5) + 3 / (1.5 * 0.64)), rel=1e-5)


def test_an_impossible_body_is_told() -> None:
    with pytest.raises(ReverieError, match="mass and length are above 0"):
        GymEnvironment(GymConfig(id="reverie/Pendulum-v0", kwargs={"mass": 0}))


def test_dreams_of_it_can_be_drawn() -> None:
    factory = GymEnvironment(GymConfig(id="reverie/Pendulum-v0", kwargs={"goal": 0.35}))
    assert factory.entry_labels("state") == ["cos angle", "sin angle", "angular velocity"]
    assert factory.time_limit == 200


@pytest.mark.parametrize("angle", [0.5, 3.1, -3.1, 3.0 + 2 * math.pi])
def test_other_eyes_see_the_same_body(angle: float) -> None:
    seen, reward = step(PendulumTask(goal=0.35), angle, 1.0, 0.5)
    obs, same = step(PendulumAngle(goal=0.35), angle, 1.0, 0.5)
    assert same == reward
    assert obs.dtype == np.float32
    assert PendulumAngle().observation_space.contains(obs)
    np.testing.assert_allclose([math.cos(obs[0]), math.sin(obs[0]), obs[1]], seen, atol=1e-5)


def test_a_dream_of_what_other_eyes_see_can_be_drawn_and_is_the_same_picture() -> None:
    pictures = []
    for id, obs in (("Pendulum", [math.cos(0.7), math.sin(0.7), 1.0]), ("PendulumAngle", [0.7, 1.0])):
        factory = GymEnvironment(GymConfig(id=f"reverie/{id}-v0"))
        assert factory.entry_labels("state") is not None
        pictures.append(factory.render_observation({"state": np.array(obs, np.float32)}))
    assert pictures[0] is not None
    assert np.array_equal(pictures[0], pictures[1])
