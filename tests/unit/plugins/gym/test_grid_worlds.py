"""MinAtar and MiniGrid in the standard form, against the libraries themselves."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from reverie import EnvironmentFault, PluginError
from reverie.training.environments import VectorEnvironments
from reverie_plugins.gym.adapters import FREEWAY_LIMIT
from reverie_plugins.gym.cells import EMPTY, UNSEEN, draw_cells, draw_channels
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment

GAMES = {
    "Asterix": ("asterix", 4, 5),
    "Breakout": ("breakout", 4, 3),
    "Freeway": ("freeway", 7, 3),
    "Seaquest": ("seaquest", 10, 6),
    "SpaceInvaders": ("space_invaders", 6, 4),
}


def factory(env_id, **options):
    if env_id.startswith("MinAtar"):
        pytest.importorskip("minatar")
    else:
        pytest.importorskip("minigrid")
        options.setdefault("hide", {"mission": "all"})
    return GymEnvironment(GymConfig(id=env_id, **options))


# MinAtar.


@pytest.mark.parametrize("name", GAMES)
def test_each_game_is_minatars_own(name):
    """Same seed and actions, by the library's own class."""
    module, channels, actions = GAMES[name]
    made = factory(f"MinAtar/{name}-v1")
    assert list(made.observation) == ["image"]
    assert made.observation["image"].shape == (10, 10, channels)
    assert (made.action.kind, made.action.size) == ("discrete", actions)
    from minatar import Environment

    own, env = Environment(module), made.make()
    own.seed(3)
    own.reset()
    shown, _ = env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        assert np.array_equal(shown["image"], own.state() * np.uint8(255))
        action = int(rng.integers(actions))
        shown, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated, truncated) == (*own.act(own.minimal_action_set()[action]), False)
        if terminated:
            own.seed(4)
            own.last_action = 0
            own.reset()
            shown, _ = env.reset(seed=4)


@pytest.mark.parametrize("name", GAMES)
def test_an_episode_follows_from_its_seed_and_its_actions(name):
    """Whatever was played before: the library repeats the last action of the episode before with probability 0.1."""
    used, fresh = (factory(f"MinAtar/{name}-v1").make() for _ in range(2))
    rng = np.random.default_rng(1)
    for seed in range(12):
        for env, before in ((used, 40), (fresh, 0)):
            env.reset(seed=100 + seed)
            for _ in range(before):
                env.step(env.action_space.n - 1)
        actions = rng.integers(1, used.action_space.n, 20)
        played = []
        for env in (used, fresh):
            env.reset(seed=seed)
            played.append([env.step(int(action))[0]["image"] for action in actions])
        assert np.array_equal(*played)
        fresh = factory(f"MinAtar/{name}-v1").make()


def test_an_open_episode_is_brought_back():
    original, restored = (VectorEnvironments(factory("MinAtar/Seaquest-v1"), 2, seed=1) for _ in range(2))
    original.begin()
    actions = np.eye(6, dtype=np.float32)[np.random.default_rng(0).integers(6, size=(60, 2))]
    for action in actions:
        original.step(action)
    assert restored.restore(original.state()) == []
    one, other = (vector.step(actions[0]).rows.obs["image"] for vector in (original, restored))
    assert np.array_equal(one, other)


def test_freeways_clock_cuts_and_does_not_kill():
    made = factory("MinAtar/Freeway-v1")
    assert made.time_limit == FREEWAY_LIMIT
    env = made.make()
    env.reset(seed=0)
    for frame in range(1, FREEWAY_LIMIT + 1):
        _, _, terminated, truncated, _ = env.step(0)
        assert not terminated
        assert truncated == (frame == FREEWAY_LIMIT)
    with pytest.raises(PluginError, match=r"2501 frames.*\n.*leave `time_limit` out"):
        factory("MinAtar/Freeway-v1", time_limit=3000)


def test_a_game_can_be_drawn():
    env = factory("MinAtar/Breakout-v1").make(render=True)
    obs, _ = env.reset(seed=0)
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((80, 80, 3), np.uint8)
    assert np.array_equal(factory("MinAtar/Breakout-v1").render_observation(obs), frame)
    assert set(factory("MinAtar/Breakout-v1", pixels=40, hide="all").observation) == {"image"}


# MiniGrid.


def test_text_must_be_hidden_by_name():
    with pytest.raises(EnvironmentFault, match=r"'mission' is MissionSpace, which.*env\.hide\.mission=all"):
        factory("MiniGrid-Empty-5x5-v0", hide={})


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-MemoryS7-v0"])
def test_cells_are_one_hot_as_in_minigrids_own_wrapper(env_id):
    made = factory(env_id)
    from minigrid.wrappers import OneHotPartialObsWrapper

    assert made.observation["image"].shape == (7, 7, 20)
    assert made.observation["direction"].shape == (4,)
    env, own = made.make(), OneHotPartialObsWrapper(gym.make(env_id))
    shown, theirs = env.reset(seed=5)[0], own.reset(seed=5)[0]
    rng = np.random.default_rng(0)
    for _ in range(60):
        assert np.array_equal(shown["image"], 255 * theirs["image"])
        assert shown["direction"].tolist() == np.eye(4)[theirs["direction"]].tolist()
        action = int(rng.integers(7))
        shown, *mine = env.step(action)
        theirs, *others = own.step(action)
        assert mine[:3] == others[:3]


def test_the_whole_grid():
    made = factory("MiniGrid-Empty-5x5-v0", view="whole")
    assert made.observation["image"].shape == (5, 5, 21)
    env = made.make()
    image = env.reset(seed=0)[0]["image"]
    assert np.argwhere(image[:, :, 10]).tolist() == [[1, 1]]  # the agent, counted by column and row
    assert np.argwhere(image[:, :, 8]).tolist() == [[3, 3]]  # the goal
    assert image[1, 1, 17:].tolist() == [255, 0, 0, 0]  # it looks to the right
    assert np.argwhere(env.step(2)[0]["image"][:, :, 10]).tolist() == [[2, 1]]
    with pytest.raises(PluginError, match=r"'CartPole-v1' is none"):
        GymEnvironment(GymConfig(id="CartPole-v1", view="whole"))


def test_codes_as_the_library_gives_them():
    made = factory("MiniGrid-Empty-5x5-v0", one_hot={})
    assert made.observation["image"].shape == (7, 7, 3)
    assert made.make().reset(seed=0)[0]["image"].max() == 8


def test_limits():
    made = factory("MiniGrid-Empty-5x5-v0", time_limit=7)
    assert made.time_limit == 7
    env = made.make()
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(7)] == [False] * 6 + [True]
    with pytest.raises(PluginError, match=r"100 frames(.|\n)*max_steps"):
        factory("MiniGrid-Empty-5x5-v0", time_limit=200)
    assert factory("MiniGrid-Empty-5x5-v0", kwargs={"max_steps": 200}).time_limit == 200


# Pictures.


def test_channels_are_painted_one_above_the_other():
    image = np.zeros((2, 3, 4), np.float32)
    image[0, 1, 0] = image[1, 2, 0] = image[1, 2, 3] = 1
    picture = draw_channels(image)
    assert picture.shape == (16, 24, 3)
    cells = picture[4::8, 4::8]
    assert np.array_equal(cells[0, 0], EMPTY)
    assert not np.array_equal(cells[0, 1], cells[0, 0])
    assert not np.array_equal(cells[1, 2], cells[0, 1])  # channel 3 covers channel 0
    faint = draw_channels(image / 2)[4::8, 4::8]
    assert (np.abs(faint[0, 1].astype(int) * 2 - cells[0, 1] - EMPTY) <= 2).all()


def test_cells_lie_where_minigrid_has_them():
    """Columns come first in the observation, rows in a picture: compared with the library's own drawing."""
    made = factory("MiniGrid-Empty-8x8-v0", view="whole")
    env = made.make(render=True)
    shown, _ = env.reset(seed=0)
    for action in (2, 2, 1, 2):
        shown, *_ = env.step(action)
    picture = made.render_observation(shown)
    assert picture.shape == (64, 64, 3)
    theirs = env.render().reshape(8, 32, 8, 32, 3).mean(axis=(1, 3))  # (8, 8, 3)
    mine = picture.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    agent, goal = (np.argwhere(shown["image"][:, :, index])[0][::-1] for index in (10, 8))
    assert theirs[*goal].argmax() == mine[*goal].argmax() == 1  # green
    assert mine[*agent].argmax() == 0  # red
    assert theirs[*agent][0] > theirs[*agent][1:].max()


def test_unseen_cells_and_pictures_that_are_not_known():
    cell = np.zeros((1, 2, 20), np.float32)
    cell[0, 0, 0] = cell[0, 1, 1] = 1
    picture = draw_cells(cell)
    assert picture.shape == (16, 8, 3)
    assert np.array_equal(picture[0, 0], UNSEEN)
    assert np.array_equal(picture[15, 7], EMPTY)
    assert factory("MiniGrid-Empty-5x5-v0", one_hot={}).render_observation({"image": np.zeros((7, 7, 3))}) is None
    assert factory("MinAtar/Breakout-v1", image_size=20).render_observation({"image": np.zeros((20, 20, 4))}) is None
