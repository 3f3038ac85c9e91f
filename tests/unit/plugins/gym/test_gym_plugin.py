from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pydantic import ValidationError

from reverie.contracts.specs import ActionSpec, ArraySpec
from reverie.errors import EnvironmentFault, PluginError
from reverie.training.checked import CheckedEnv
from reverie.training.environments import VectorEnvironments
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment
from reverie_plugins.gym.wrapper import StandardForm, grey, resize


def factory(env_id="CartPole-v1", **options):
    return GymEnvironment(GymConfig(id=env_id, **options))


class Fake(gym.Env):
    """Any spaces; shows fixed observations and remembers what it was told."""

    def __init__(self, observation=None, action=None, shows=None, length=100):
        self.observation_space = observation or gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = action or gym.spaces.Discrete(2)
        self.shows = self.observation_space.sample() if shows is None else shows
        self.length, self.told = length, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.told = []
        return self.shows, {}

    def step(self, action):
        self.told.append(action)
        return self.shows, float(len(self.told)), len(self.told) == self.length, False, {}


def standard(fake, **options):
    env = StandardForm(fake, GymConfig(id="Fake-v0", **options))
    return CheckedEnv(env, *env.specs)


def seen(observation, shows, **options):
    return standard(Fake(observation, shows=shows), **options).reset()[0]


# Registered environments.


def test_cartpole():
    made = factory()
    assert made.observation.entries == {"state": ArraySpec((4,), "float32", -np.inf, np.inf)}
    assert made.action == ActionSpec("discrete", 2)
    env, raw = made.make(), gym.make("CartPole-v1")
    assert np.array_equal(env.reset(seed=3)[0]["state"], raw.reset(seed=3)[0])
    assert np.array_equal(env.step(1)[0]["state"], raw.step(1)[0])


def test_pendulum_actions_are_rescaled():
    env, raw = factory("Pendulum-v1").make(), gym.make("Pendulum-v1")
    env.reset(seed=3), raw.reset(seed=3)
    for mine, theirs in ((0.5, 1.0), (-1.0, -2.0), (1.0, 2.0), (0.0, 0.0)):
        obs, reward, *_ = env.step(np.float32([mine]))
        expected, expected_reward, *_ = raw.step(np.float32([theirs]))
        assert np.allclose(obs["state"], expected)
        assert reward == pytest.approx(expected_reward)


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "reverie/CartPolePixels-v0", "reverie/CartPoleDict-v0"]
)
def test_the_standard_form_keeps_to_gymnasium(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinite bounds, and that it is wrapped
        check_env(factory(env_id).make(), skip_render_check=True)


def test_unknown_ids_get_suggestions():
    with pytest.raises(PluginError, match=r"CartPol-v1.*CartPole"):
        factory("CartPol-v1")


@pytest.mark.parametrize("env_id", ["os:system", "a.b:C-v0", "x/y/z-v0", "../x", "CartPole-v1\n", ""])
def test_ids_that_import_something_are_refused(env_id):
    with pytest.raises(ValidationError):
        GymConfig(id=env_id)


@pytest.mark.parametrize("name", ["render_mode", "max_episode_steps", "disable_env_checker", "id"])
def test_arguments_with_keys_of_their_own_are_refused(name):
    with pytest.raises(ValidationError, match=name):
        GymConfig(id="CartPole-v1", kwargs={name: 3})


def test_arguments_reach_the_environment_and_wrong_ones_are_named():
    assert factory("Pendulum-v1", kwargs={"g": 1.5}).make().unwrapped.g == 1.5
    with pytest.raises(PluginError, match="gravity"):
        factory(kwargs={"gravity": 1})


@pytest.mark.parametrize(
    ("env_id", "package", "extra"),
    [
        ("dm_control/cartpole-swingup-v0", "dm_control", "dmc"),
        ("dm_control/cartpole-swingup-v0", "shimmy", "dmc"),
        ("MinAtar/Breakout-v1", "minatar", "minatar"),
        ("MiniGrid-Empty-5x5-v0", "minigrid", "minigrid"),
        ("LunarLander-v3", "Box2D", "box2d"),
        ("ALE/Pong-v5", "ale_py", "atari"),
    ],
)
def test_a_missing_extra_is_named_with_its_pip_line(env_id, package, extra, monkeypatch):
    class Absent:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == package:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(PluginError) as told:
        factory(env_id)
    assert str(told.value) == (
        f"env: '{env_id}' needs the package {package}, which is not installed\n"
        f'    fix: pip install "reverie[{extra}]"'
    )


def test_nothing_heavy_is_imported_for_an_ordinary_id():
    code = (
        "import sys, reverie_plugins.gym, reverie_plugins.gym.config; assert 'torch' not in sys.modules, 'torch';"
        "from reverie_plugins.gym.factory import GymEnvironment; from reverie_plugins.gym.config import GymConfig;"
        "GymEnvironment(GymConfig(id='CartPole-v1'));"
        "print([m for m in ('shimmy', 'dm_control', 'mujoco', 'minigrid', 'ale_py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_deepmind_control():
    pytest.importorskip("shimmy")
    pytest.importorskip("dm_control")
    made = factory("dm_control/cartpole-swingup-v0", action_repeat=8)
    assert made.observation.entries == {"position": ArraySpec((3,), "float32"), "velocity": ArraySpec((2,), "float32")}
    assert made.action == ActionSpec("continuous", 1)
    original, restored = (VectorEnvironments(made, 2, seed=1) for _ in range(2))
    original.begin()
    results, frames = [], 0
    for step in range(140):
        taken = original.step(np.full((2, 1), np.sin(step)))
        results += taken.finished
        frames += taken.frames
    assert [result.length for result in results] == [125, 125]
    assert not any(result.terminated for result in results)
    assert frames == 2 * 140 * 8
    assert restored.restore(original.state()) == []
    assert np.array_equal(
        restored.step(np.ones((2, 1))).rows.obs["velocity"], original.step(np.ones((2, 1))).rows.obs["velocity"]
    )


# Observations.


def test_nested_dictionaries_and_tuples_are_joined_by_slashes():
    box = gym.spaces.Box(-5, 5, (2,), np.float32)
    space = gym.spaces.Dict(
        {"arm": gym.spaces.Dict({"joints": box, "tip.x": box}), "pair": gym.spaces.Tuple((box, box))}
    )
    one, two, three, four = (np.float32([i, i]) for i in range(1, 5))
    found = seen(space, {"arm": {"joints": one, "tip.x": two}, "pair": (three, four)})
    assert {key: value[0] for key, value in found.items()} == {
        "arm/joints": 1,
        "arm/tip_x": 2,
        "pair/0": 3,
        "pair/1": 4,
    }


def test_entries_that_would_share_a_name_are_refused():
    box = gym.spaces.Box(-5, 5, (2,), np.float32)
    with pytest.raises(EnvironmentFault, match="'a/b'"):
        standard(Fake(gym.spaces.Dict({"a/b": box, "a": gym.spaces.Dict({"b": box})})))


def test_float64_matrices_and_numbers_become_float32_vectors():
    space = gym.spaces.Dict(
        {"m": gym.spaces.Box(-np.inf, np.inf, (2, 2), np.float64), "n": gym.spaces.Box(-1, 1, (), np.float64)}
    )
    found = seen(space, {"m": np.array([[1.0, 2], [3, 4]]), "n": np.float64(0.5)})
    assert found["m"].tolist() == [1, 2, 3, 4]
    assert found["n"].tolist() == [0.5]
    assert found["m"].dtype == found["n"].dtype == np.float32


def test_choices_become_one_hot_vectors():
    space = gym.spaces.Dict(
        {
            "d": gym.spaces.Discrete(3, start=-1),
            "m": gym.spaces.MultiDiscrete([2, 3], start=[0, 5]),
            "b": gym.spaces.MultiBinary(3),
        }
    )
    found = seen(space, {"d": np.int64(1), "m": np.array([1, 5]), "b": np.array([1, 0, 1], np.int8)})
    assert found["d"].tolist() == [0, 0, 1]
    assert found["m"].tolist() == [0, 1, 1, 0, 0]
    assert found["b"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Text(5), gym.spaces.Sequence(gym.spaces.Discrete(2)), gym.spaces.Box(-9, 9, (4, 4, 3), np.float32)],
)
def test_what_cannot_be_shown_is_refused_by_name_unless_hidden(space):
    both = gym.spaces.Dict({"odd": space, "even": gym.spaces.Box(-1, 1, (2,), np.float32)})
    with pytest.raises(EnvironmentFault, match=r"'odd'.*neither a vector nor an image.*env\.hide\.odd=all"):
        standard(Fake(both))
    assert set(standard(Fake(both), hide={"odd": "all"}).reset()[0]) == {"even"}


def image_box(shape, dtype=np.uint8, high=255):
    return gym.spaces.Box(0, high, shape, dtype)


def test_images_of_all_kinds_become_uint8_with_channels_last():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(seen(image_box((6, 8, 3)), colour)["image"], colour)
    assert np.array_equal(seen(image_box((6, 8)), colour[..., 0])["image"], colour[..., :1])
    assert np.array_equal(seen(image_box((3, 6, 8)), colour.transpose(2, 0, 1))["image"], colour)
    unit = (colour / 255).astype(np.float32)
    assert np.array_equal(seen(image_box((6, 8, 3), np.float32, 1), unit)["image"], colour)
    truth = colour > 100
    assert np.array_equal(seen(gym.spaces.Box(0, 1, (6, 8, 3), np.bool_), truth)["image"], truth * np.uint8(255))


def test_resizing_takes_the_mean_of_each_area():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    small = resize(image, (2, 2))
    expected = image.reshape(2, 2, 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() <= 0.5
    layers = np.concatenate([image, image[..., :2]], axis=2)
    assert np.array_equal(resize(layers, (2, 2))[..., :3], small)
    assert seen(image_box((4, 4, 3)), image, image_size=(2, 3))["image"].shape == (2, 3, 3)
    assert seen(image_box((4, 4, 3)), image, image_size=2)["image"].shape == (2, 2, 3)


def test_grey_is_luma():
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 10, 10]]], np.uint8)
    assert grey(image)[0, :, 0].tolist() == [76, 150, 29, 10]
    assert seen(image_box((1, 4, 3)), image, grey=True)["image"].shape == (1, 4, 1)


def test_hiding_indices_and_entries():
    made = factory(hide={"state": [1, 3]})
    assert made.observation["state"].shape == (2,)
    env, raw = made.make(), gym.make("CartPole-v1")
    assert np.array_equal(env.reset(seed=3)[0]["state"], raw.reset(seed=3)[0][[0, 2]])
    spaces = env.observation_space["state"]
    assert np.allclose(spaces.high, raw.observation_space.high[[0, 2]])


@pytest.mark.parametrize(
    ("hide", "message"),
    [
        ({"velocity": "all"}, "'velocity', but there are only state"),
        ({"state": [4]}, r"index 4 of 'state', which has entries 0 \.\.\. 3"),
        ({"state": "all"}, "nothing to observe"),
        ("all", "nothing to observe; `pixels: 64`"),
        ({"state": [0, 1, 2, 3]}, "nothing to observe"),
    ],
)
def test_hiding_what_is_not_there_or_everything_is_refused(hide, message):
    with pytest.raises(EnvironmentFault, match=message):
        factory(hide=hide)


def test_indices_of_images_cannot_be_hidden():
    with pytest.raises(EnvironmentFault, match="image: all"):
        factory("reverie/CartPolePixels-v0", hide={"image": [0]})


def test_pixels_are_drawn_by_the_environment():
    made = factory(pixels=32)
    assert set(made.observation) == {"state", "image"}
    assert made.observation["image"].shape == (32, 32, 3)
    env = made.make()
    obs, _ = env.reset(seed=0)
    assert np.array_equal(obs["image"], resize(env.render(), (32, 32)))
    later = env.step(1)[0]["image"]
    for _ in range(5):
        later = env.step(1)[0]["image"]
    assert not np.array_equal(obs["image"], later)
    assert set(factory(pixels=32, hide={"state": "all"}, grey=True).observation) == {"image"}
    assert set(factory(pixels=32, hide="all").observation) == {"image"}
    assert factory(pixels=32, hide={"state": "all"}, grey=True).observation["image"].shape == (32, 32, 1)
    with pytest.raises(EnvironmentFault, match="has one already"):
        factory("reverie/CartPolePixels-v0", pixels=32)


def test_codes_become_channels_of_their_own():
    image = np.array([[[0, 2], [1, 0]], [[2, 1], [0, 0]], [[1, 1], [1, 2]]], np.uint8)  # (3, 2, 2)
    found = seen(image_box((3, 2, 2)), image, one_hot={"image": (4, 3)})["image"]
    assert found.shape == (3, 2, 7)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 255}
    assert np.array_equal(found[:, :, :4].argmax(axis=2), image[:, :, 0])
    assert np.array_equal(found[:, :, 4:].argmax(axis=2), image[:, :, 1])
    assert (found.sum(axis=2, dtype=int) == 2 * 255).all()


@pytest.mark.parametrize(
    ("one_hot", "message"),
    [
        ({"image": (3,)}, r"1 channels of 'image'.*only uint8 images"),
        ({"image": (3, 2)}, r"'image' holds the code 2 in channel 1, for which `one_hot` knows only 2"),
        ({"picture": (3, 3)}, "`one_hot` names the entry 'picture', but there are only image"),
    ],
)
def test_codes_that_do_not_fit_are_refused(one_hot, message):
    with pytest.raises(EnvironmentFault, match=message):
        seen(image_box((3, 2, 2)), np.full((3, 2, 2), 2, np.uint8), one_hot=one_hot)


# What CheckedEnv must still see.


@pytest.mark.parametrize(
    ("space", "shows", "message"),
    [
        (gym.spaces.Box(-1, 1, (2,), np.float32), np.zeros(2, np.float64), "dtype float64, expected float32"),
        (gym.spaces.Box(-1, 1, (2,), np.float32), np.zeros(3, np.float32), r"shape \(3,\), expected \(2,\)"),
        (gym.spaces.Box(-1, 1, (2,), np.float64), np.array([0, np.nan]), "nan at index 1"),
        (gym.spaces.Box(-np.inf, np.inf, (2,), np.float64), np.array([0, 1e200]), "inf at index 1"),
        (gym.spaces.Box(-1, 1, (2,), np.float32), np.float32([0, 2]), "outside its bounds"),
        (image_box((4, 4, 3)), np.zeros((4, 4, 3), np.float32), "dtype float32, expected uint8"),
        (image_box((4, 4, 3)), np.zeros((4, 3, 3), np.uint8), r"shape \(4, 3, 3\)"),
        (gym.spaces.Discrete(3), np.int64(3), "dtype int64"),
    ],
)
def test_converting_hides_no_fault(space, shows, message):
    with pytest.raises(EnvironmentFault, match=message), np.errstate(over="ignore"):
        standard(Fake(space, shows=shows)).reset()


# Actions and time.


def test_discrete_actions_are_shifted_to_their_start():
    fake = Fake(action=gym.spaces.Discrete(3, start=5))
    env = standard(fake)
    assert env.action_space == gym.spaces.Discrete(3)
    env.reset()
    env.step(0), env.step(2)
    assert fake.told == [5, 7]


def test_boxes_of_any_shape_and_bounds():
    space = gym.spaces.Box(np.float32([[0, -2], [10, 3]]), np.float32([[1, 2], [30, 3]]))
    fake = Fake(action=space)
    env = standard(fake)
    assert env.action_space == gym.spaces.Box(-1, 1, (4,), np.float32)
    env.reset()
    env.step(np.float32([-1, 0.5, 0, 1])), env.step(np.float32([1, 1, 1, -1]))
    assert fake.told[0].tolist() == [[0, 1], [20, 3]]
    assert fake.told[1].tolist() == [[1, 2], [30, 3]]
    assert space.contains(fake.told[0])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.MultiDiscrete([2, 2]), r"MultiDiscrete\(\[2 2\]\)"),
        (gym.spaces.MultiBinary(3), r"MultiBinary\(3\)"),
        (gym.spaces.Dict({"a": gym.spaces.Discrete(2)}), r"Dict\('a': Discrete\(2\)\)"),
        (gym.spaces.Box(0, 5, (2,), np.int32), "int32.*Box of floats"),
        (gym.spaces.Box(-np.inf, 1, (2,), np.float32), "no bounds"),
    ],
)
def test_other_actions_are_refused_by_name(space, message):
    with pytest.raises(EnvironmentFault, match=message):
        standard(Fake(action=space))


def test_action_repeat_sums_rewards_counts_frames_and_stops_at_the_end():
    fake = Fake(length=7)
    env = standard(fake, action_repeat=3)
    env.reset()
    taken = [env.step(1) for _ in range(3)]
    assert [reward for _, reward, *_ in taken] == [1 + 2 + 3, 4 + 5 + 6, 7]
    assert [info["frames"] for *_, info in taken] == [3, 3, 1]
    assert [terminated for _, _, terminated, *_ in taken] == [False, False, True]
    assert len(fake.told) == 7


def test_a_time_limit_counts_frames_and_is_no_true_end():
    made = factory("Pendulum-v1", time_limit=7, action_repeat=2)
    assert made.action_repeat == 2
    env = made.make()
    env.reset(seed=0)
    taken = [env.step(np.zeros(1, np.float32)) for _ in range(4)]
    assert [truncated for _, _, _, truncated, _ in taken] == [False, False, False, True]
    assert [info["frames"] for *_, info in taken] == [2, 2, 2, 1]
    assert not taken[-1][2]


def test_a_longer_time_limit_replaces_the_registered_one():
    env = factory("Pendulum-v1", time_limit=250).make()
    env.reset(seed=0)
    lengths = next(step for step in range(1, 300) if env.step(np.zeros(1, np.float32))[3])
    assert lengths == 250
