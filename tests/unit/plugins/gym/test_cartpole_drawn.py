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


@pytest.fixture(scope="module")
def drawn_states():
    """States (N, 4) drawn independently of one another, what the agent is shown of them, and what one step later."""
    rng, env = np.random.default_rng(0), GymEnvironment(GymConfig(id="reverie/CartPolePixels-v0")).make()
    env.reset(seed=0)
    game, found = env.unwrapped._cartpole, []
    for state in rng.uniform([-2, -2, -0.18, -2], [2, 2, 0.18, 2], (1000, 4)):
        game.state, game.steps_beyond_terminated = state, None
        shown, state = env.unwrapped.step(int(rng.integers(2)))[0], np.array(game.state)
        game.steps_beyond_terminated = None
        found.append((state, shown, env.unwrapped.step(int(rng.integers(2)))[0]))
    return [np.stack(column) for column in zip(*found, strict=True)]


def read_out(images, targets, others):
    """Ridge regression on all pixels, fitted to the first 800; (readings of the other 200, and of `others` there)."""
    pixels, later = (
        part.reshape(len(part), 32, 2, 32, 2, 3).mean(axis=(2, 4)).reshape(len(part), -1) / 255
        for part in (images, others)
    )  # (N, 3072) each
    middle, mean = pixels[:800].mean(axis=0), targets[:800].mean(axis=0)
    fit = pixels[:800] - middle
    weights = np.linalg.solve(fit @ fit.T + 0.01 * np.eye(800), targets[:800] - mean)  # (800, 4)
    return [(part[800:] - middle) @ fit.T @ weights + mean for part in (pixels, later)]


def explained(read, true):
    return 1 - ((read - true) ** 2).mean(axis=0) / true.var(axis=0)


def test_one_picture_tells_positions_and_no_velocities(drawn_states):
    states, images, later = drawn_states
    read, _ = read_out(images, states, later)
    position, velocity, angle, spin = explained(read, states[800:])
    assert position > 0.99
    assert angle > 0.95
    assert velocity < 0.1  # a fit to noise is worse than the mean, which would be 0
    assert spin < 0.1


def test_two_pictures_tell_the_velocity(drawn_states):
    """So there is something to remember: the difference of two readings, over the time between them."""
    states, images, later = drawn_states
    now, then = read_out(images, states, later)
    assert explained((then - now)[:, :1] / 0.02, states[800:, 1:2])[0] > 0.8


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
