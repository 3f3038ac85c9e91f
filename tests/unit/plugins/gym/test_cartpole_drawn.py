from __future__ import annotations

import time

import gymnasium as gym
import numpy as np
import pytest

from reverie_plugins.gym.cartpole import CART, POLE, Rasteriser
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment


def middle(image, colour):
    """Mean (row, column) of the pixels that have this colour."""
    where = np.argwhere(np.abs(image.astype(int) - colour.astype(int)).sum(axis=2) < 12)
    return where.mean(axis=0)


def test_the_cart_stands_where_its_position_says():
    drawn = [middle(Rasteriser(64).draw(position, 0.0), CART)[1] for position in (-1.2, 0.0, 1.2)]
    assert drawn == pytest.approx([16 - 0.5, 32 - 0.5, 48 - 0.5], abs=0.5)


def test_the_pole_leans_as_its_angle_says():
    foot_row = 0.8 * 64 - 0.05 * 64
    for angle in (-0.2, 0.0, 0.1, 0.2):
        row, column = middle(Rasteriser(64).draw(0.0, angle), POLE)
        lean = np.arctan2(column + 0.5 - 32, foot_row - row - 0.5)
        assert lean == pytest.approx(angle, abs=0.03)


def test_a_movement_of_a_tenth_of_a_pixel_changes_the_picture():
    rasteriser, pixel = Rasteriser(64), 4.8 / 64
    assert not np.array_equal(rasteriser.draw(0.0, 0.0), rasteriser.draw(pixel / 10, 0.0))
    assert not np.array_equal(rasteriser.draw(0.0, 0.0), rasteriser.draw(0.0, 0.01))


@pytest.mark.parametrize("state", [(-2.4, 0.2), (2.4, -0.2), (5.0, 3.0), (-100.0, 1.57), (0.0, -1.57)])
def test_poses_at_and_beyond_the_edge_are_drawn(state):
    image = Rasteriser(64).draw(*state)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8


def test_velocities_are_not_visible():
    env = GymEnvironment(GymConfig(id="reverie/CartPolePixels-v0")).make()
    env.reset(seed=0)
    inner = env.unwrapped
    inner._cartpole.state = np.array([0.3, 1.0, 0.1, -2.0])
    one = inner.render()
    inner._cartpole.state = np.array([0.3, -1.0, 0.1, 2.0])
    assert np.array_equal(one, inner.render())


def test_the_game_is_gymnasiums_own():
    env, raw = GymEnvironment(GymConfig(id="reverie/CartPoleDict-v0")).make(), gym.make("CartPole-v1")
    mine, theirs = env.reset(seed=5)[0], raw.reset(seed=5)[0]
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert np.array_equal(np.concatenate([mine["cart"], mine["pole"]]), theirs)
        action = int(rng.integers(2))
        mine, reward, terminated, truncated, _ = env.step(action)
        theirs, *others = raw.step(action)
        assert [reward, terminated, truncated] == others[:3]
        if terminated:
            mine, theirs = env.reset(seed=6)[0], raw.reset(seed=6)[0]


def test_time_limit_of_500_frames():
    env = GymEnvironment(GymConfig(id="reverie/CartPolePixels-v0")).make()
    assert env.spec.max_episode_steps == 500


def test_thousands_of_frames_a_second():
    """A floor that a loaded machine holds too; CPU time, best of several."""
    rasteriser, best = Rasteriser(64), np.inf
    for _ in range(10):
        began = time.process_time()
        for step in range(50):
            rasteriser.draw(step / 50, step / 500)
        best = min(best, (time.process_time() - began) / 50)
    assert 1 / best > 1500
