"""DeepMind Control in the standard form, against dm_control itself."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from reverie import EnvironmentFault, PluginError
from reverie_plugins.gym.adapters import arguments_of
from reverie_plugins.gym.config import GymConfig
from reverie_plugins.gym.factory import GymEnvironment
from reverie_plugins.gym.headless import draw_without_display

pytest.importorskip("shimmy")
suite = pytest.importorskip("dm_control.suite")

# Of the files in shared/reference-curves, without their prefix `dmc_`: (domain, task).
TASKS = [
    ("acrobot", "swingup"),
    ("ball_in_cup", "catch"),
    ("cartpole", "balance"),
    ("cartpole", "balance_sparse"),
    ("cartpole", "swingup"),
    ("cartpole", "swingup_sparse"),
    ("cheetah", "run"),
    ("finger", "spin"),
    ("finger", "turn_easy"),
    ("finger", "turn_hard"),
    ("hopper", "hop"),
    ("hopper", "stand"),
    ("pendulum", "swingup"),
    ("reacher", "easy"),
    ("reacher", "hard"),
    ("walker", "run"),
    ("walker", "stand"),
    ("walker", "walk"),
]


def factory(domain="cartpole", task="swingup", **options):
    return GymEnvironment(GymConfig(id=f"dm_control/{domain}-{task}-v0", **options))


def test_there_is_a_recipe_for_each():
    recipes = Path(__file__).parents[4] / "recipes" / "env" / "dmc"
    assert sorted(path.stem for path in recipes.glob("*.yaml")) == sorted(f"{one}_{two}" for one, two in TASKS)
    for domain, task in TASKS:
        assert f"id: dm_control/{domain}-{task}-v0\n" in (recipes / f"{domain}_{task}.yaml").read_text()


@pytest.mark.parametrize(("domain", "task"), TASKS)
def test_each_task_is_dm_controls_own(domain, task):
    """Same seed, same actions, without shimmy: the same observations, and rewards summed over the repeated frames."""
    made = factory(domain, task, action_repeat=2, time_limit=11)
    assert made.time_limit == 11
    env, own = made.make(), suite.load(domain, task, task_kwargs={"random": np.random.RandomState(7)})
    shown, theirs = env.reset(seed=7)[0], own.reset().observation
    assert list(made.observation) == sorted(theirs)
    rng = np.random.default_rng(0)
    bounds = own.action_spec()
    for step in range(6):
        for key, value in theirs.items():
            assert shown[key].dtype == np.float32
            assert np.array_equal(shown[key], np.float32(value).reshape(-1)), key
        action = rng.uniform(-1, 1, made.action.size).astype(np.float32)
        raw = bounds.minimum + (action.astype(np.float64) + 1) / 2 * (bounds.maximum - bounds.minimum)
        shown, reward, terminated, truncated, info = env.step(action)
        frames = 1 if step == 5 else 2  # the limit of 11 frames falls into the sixth step
        taken = [own.step(raw) for _ in range(frames)]
        theirs = taken[-1].observation
        assert reward == pytest.approx(sum(one.reward for one in taken), abs=1e-9)
        assert (terminated, truncated, info["frames"]) == (False, step == 5, frames)


def test_an_episode_is_a_thousand_frames_and_no_true_end():
    made = factory("pendulum", "swingup", action_repeat=16)
    assert made.time_limit == 1000
    env = made.make()
    env.reset(seed=0)
    taken = [env.step(np.zeros(1, np.float32)) for _ in range(63)]
    assert [step for step, one in enumerate(taken) if one[3]] == [62]
    assert not any(one[2] for one in taken)
    assert sum(one[4]["frames"] for one in taken) == 1000


def test_a_longer_limit_than_its_own_is_refused_with_the_way_to_get_it():
    with pytest.raises(PluginError, match=r"1000 frames, so `time_limit: 1001` would change nothing(.|\n)*task_kwargs"):
        factory(time_limit=1001)
    assert factory(kwargs={"task_kwargs": {"time_limit": 20}}).time_limit == 2000


def test_its_warnings_about_models_are_not_passed_on(caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        factory("cheetah", "run")
    assert caplog.records == []


def test_drawing_without_egl_says_what_to_install(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "dm_control._render.pyopengl.egl_renderer", None)
    with pytest.raises(PluginError, match=r"cannot be drawn(.|\n)*apt-get install libegl1"):
        draw_without_display("dm_control/walker-walk-v0")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    draw_without_display("dm_control/walker-walk-v0")  # somebody chose


def test_the_camera():
    config = GymConfig(id="dm_control/walker-walk-v0", pixels=48, kwargs={"render_kwargs": {"camera_id": 1}})
    assert arguments_of(config, drawn=True) == {"render_kwargs": {"height": 48, "width": 48, "camera_id": 1}}
    assert arguments_of(GymConfig(id="dm_control/walker-walk-v0"), drawn=False) == {}
    assert arguments_of(GymConfig(id="CartPole-v1", pixels=48, kwargs={"a": 1}), drawn=True) == {"a": 1}


@pytest.mark.browser
def test_pixels_without_a_display():
    """Also where dm_control was imported long before anybody wanted a picture, as it was here."""
    try:
        made = factory("walker", "walk", pixels=64, hide="all", action_repeat=2)
    except PluginError as error:
        pytest.skip(f"no EGL here: {error}")
    assert list(made.observation) == ["image"]
    assert made.observation["image"].shape == (64, 64, 3)
    env = made.make()
    first, other = env.reset(seed=0)[0]["image"], env.reset(seed=1)[0]["image"]
    assert env.render().shape == (64, 64, 3)  # drawn so small, not made small
    assert first.std() > 10
    assert not np.array_equal(first, other)
    assert np.array_equal(env.reset(seed=0)[0]["image"], first)
    assert not np.array_equal(env.step(np.ones(6, np.float32))[0]["image"], first)
    both = factory("walker", "walk", pixels=32)
    assert set(both.observation) == {"height", "orientations", "velocity", "image"}
    with pytest.raises(EnvironmentFault, match="nothing to observe"):
        factory("walker", "walk", hide="all")
    assert os.environ.get("MUJOCO_GL") in (None, "egl")
