from __future__ import annotations

import os
import signal
import time

import gymnasium as gym
import numpy as np
import pytest

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.testing.environments import AlignmentFactory, Fault, FaultyFactory
from reverie.training.checked import CheckedEnv
from reverie.training.environments import VectorEnvironments, episode_seed

from .environments_played import BOTH, play

# Seeds.


def test_every_episode_of_every_stream_has_its_own_seed():
    seeds = {episode_seed(seed, stream, episode) for seed in range(4) for stream in range(8) for episode in range(50)}
    assert len(seeds) == 4 * 8 * 50
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert episode_seed(3, 1, 2) == int(np.random.SeedSequence(3, spawn_key=(1, 2)).generate_state(1)[0]) % 2**31


@BOTH
def test_the_same_seed_gives_the_same_experience_and_streams_differ(vector, workers):
    first, second = (vector(AlignmentFactory(), 3, workers, seed=9) for _ in range(2))
    assert np.array_equal(first.begin().obs["clock"], second.begin().obs["clock"])
    for one, other in zip(play(first, 20), play(second, 20), strict=True):
        assert np.array_equal(one.rows.obs["clock"], other.rows.obs["clock"])
        assert [result.seed for result in one.finished] == [result.seed for result in other.finished]
    other = vector(AlignmentFactory(), 3, workers, seed=10)
    assert (
        len(
            set(other.begin().obs["clock"][:, 0].tolist())
            | set(vector(AlignmentFactory(), 3).begin().obs["clock"][:, 0])
        )
        > 3
    )


def test_one_environment_plays_the_same_whatever_stands_beside_it(vector):
    alone, together = vector(AlignmentFactory(), 1, seed=2), vector(AlignmentFactory(), 4, seed=2)
    alone.begin(), together.begin()
    for _ in range(15):
        one, four = alone.step(np.zeros((1, 3))), together.step(np.zeros((4, 3)))
        assert np.array_equal(one.rows.obs["clock"][0], four.rows.obs["clock"][0])


# Steps and counts.


def test_results_of_finished_episodes(vector):
    environments = vector(AlignmentFactory(), 2, seed=1)
    names = environments.begin().obs["clock"][:, 0].astype(int).tolist()
    finished = {}
    for step in range(1, 8):
        taken = environments.step(np.zeros((2, 3)))
        for result, index in zip(taken.finished, np.flatnonzero(taken.reset), strict=True):
            finished.setdefault(int(index), (result, step))
    for index, (result, step) in finished.items():
        length, truly = 3 + (7 * names[index]) % 5, names[index] % 2 == 0
        assert result.length == length == step
        assert result.terminated == truly
        assert result.seed == episode_seed(1, index, 0)
        assert result.episode_return == sum(names[index] * 100 + t for t in range(1, length + 1))
    assert len(finished) == 2


def test_the_hook_hears_of_every_step_and_of_short_repeats(vector):
    class Repeats(gym.Wrapper):
        def step(self, action):
            obs, reward, terminated, truncated, info = super().step(action)
            return obs, reward, terminated, truncated, {**info, "frames": 2 if truncated else 4}

    class Factory(FaultyFactory):
        action_repeat = 4

        def make(self, index=0, *, render=False):
            return Repeats(super().make(index))

    heard = []
    environments = vector(Factory(limit=3), 2, on_step=lambda steps, frames: heard.append((steps, frames)))
    environments.begin()
    taken = [environments.step(np.zeros((2, 2))) for _ in range(4)]
    assert heard == [(2, 8), (2, 8), (2, 4), (2, 8)]
    assert [one.frames for one in taken] == [8, 8, 4, 8]


def test_rows_do_not_change_afterwards(vector):
    environments = vector(AlignmentFactory(), 2)
    first = environments.begin()
    before = first.obs["clock"].copy()
    actions = np.full((2, 3), 0.5, np.float32)
    taken = environments.step(actions)
    actions[:] = -1
    kept = taken.rows.obs["echo"].copy()
    play(environments, 12)
    assert np.array_equal(first.obs["clock"], before)
    assert np.array_equal(taken.rows.obs["echo"], kept)
    assert (taken.rows.action == 0.5).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5])
def test_actions_out_of_bounds_are_the_policys_fault(vector, bad):
    environments = vector(AlignmentFactory(), 2)
    environments.begin()
    actions = np.zeros((2, 3))
    actions[1, 2] = bad
    with pytest.raises(NumericalFault, match="environment 1"):
        environments.step(actions)


def test_actions_of_the_wrong_shape_are_refused(vector):
    environments = vector(AlignmentFactory(), 2)
    environments.begin()
    with pytest.raises(EnvironmentFault, match=r"\(2, 2\)"):
        environments.step(np.zeros((2, 2)))


# Faults.

EXPECTED = {
    "nan": r"entry 'state' is nan at index 1",
    "inf": r"entry 'state' is inf at index 2",
    "shape": r"entry 'state' has shape \(4,\), expected \(3,\)",
    "dtype": r"entry 'state' has dtype float64, expected float32",
    "bounds": r"entry 'state' is 11.0 at index 0, outside its bounds \[-10\.?\d*, 10\.?\d*\]",
    "missing": r"entries \[\], expected \['state'\]",
    "reward": r"the reward is nan",
    "raise_step": r"ZeroDivisionError: the simulator divided by zero",
}


@BOTH
@pytest.mark.parametrize("kind", list(EXPECTED))
def test_faults_name_environment_episode_step_action_and_value(vector, workers, kind):
    environments = vector(FaultyFactory(fault=Fault(kind, step=3, episode=1, index=1), limit=5), 2, workers, timeout=20)
    environments.begin()
    for _ in range(7):
        environments.step(np.full((2, 2), 0.25))
    with pytest.raises(EnvironmentFault, match=EXPECTED[kind]) as caught:
        environments.step(np.full((2, 2), 0.25))
    assert "environment 1, episode 1, step 3, action [0.25 0.25]" in str(caught.value)
    assert type(caught.value) is EnvironmentFault
    assert "\n" not in str(caught.value)
    assert ("the values are not written" in str(caught.value)) == (kind in ("nan", "inf", "reward"))


@BOTH
def test_an_exception_in_reset_names_the_episode(vector, workers):
    environments = vector(FaultyFactory(fault=Fault("raise_reset", episode=1), limit=2), 1, workers, timeout=20)
    environments.begin()
    environments.step(np.zeros((1, 2)))
    with pytest.raises(
        EnvironmentFault, match=r"environment 0, episode 1, step 0: reset\(seed=\d+\) raised RuntimeError"
    ):
        environments.step(np.zeros((1, 2)))


@pytest.mark.parametrize("kind", ["kill", "exit"])
def test_a_dead_worker_is_named_at_once_and_closing_is_quick(vector, kind):
    environments = vector(FaultyFactory(fault=Fault(kind, index=1)), 3, "processes", timeout=30)
    environments.begin()
    environments.step(np.zeros((3, 2)))
    environments.step(np.zeros((3, 2)))
    began = time.monotonic()
    code = {"kill": "-9", "exit": "3"}[kind]
    with pytest.raises(
        EnvironmentFault,
        match=rf"environment 1, episode 0, step 3, action \[0.5 0.5\]: the worker process died \(exit code {code}\)",
    ):
        environments.step(np.full((3, 2), 0.5))
    assert time.monotonic() - began < 10
    assert_quick_close(environments)


def test_a_sleeping_worker_is_named_within_the_timeout_and_closing_is_quick(vector):
    environments = vector(FaultyFactory(fault=Fault("sleep", index=1)), 2, "processes", timeout=1.0)
    environments.begin()
    environments.step(np.zeros((2, 2)))
    environments.step(np.zeros((2, 2)))
    began = time.monotonic()
    with pytest.raises(
        EnvironmentFault, match=r"environment 1, .*step 3, action \[0.5 0.5\]: .*no answer within 1 s to step"
    ):
        environments.step(np.full((2, 2), 0.5))
    assert time.monotonic() - began < 4
    assert_quick_close(environments)


def assert_quick_close(environments):
    processes = [host.process for host in environments._hosts]
    began = time.monotonic()
    environments.close()
    environments.close()
    assert time.monotonic() - began < 5
    assert not any(process.is_alive() for process in processes)


def test_workers_obey_sigterm_although_their_parent_does_not(vector):
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as the framework's signal flag does
    try:
        environments = vector(FaultyFactory(fault=Fault("sleep")), 1, "processes", timeout=0.5)
    finally:
        signal.signal(signal.SIGTERM, before)
    environments.begin()
    process = environments._hosts[0].process
    os.kill(process.pid, signal.SIGTERM)
    process.join(5)
    assert process.exitcode == -signal.SIGTERM
    with pytest.raises(EnvironmentFault, match="died"):
        environments.step(np.zeros((1, 2)))


def test_a_worker_that_cannot_build_its_environment_is_reported():
    class Factory(FaultyFactory):
        parent = os.getpid()

        def make(self, index=0, *, render=False):
            if os.getpid() != self.parent:
                os._exit(7)
            return super().make(index)

    with pytest.raises(EnvironmentFault, match="exit code 7"):
        VectorEnvironments(Factory(), 2, "processes", timeout=10)


# The checker on its own.


def checked(box, values, dtype="float32"):
    class Shows(gym.Env):
        observation_space = gym.spaces.Dict({"x": box})
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return {"x": values}, {}

    spec = ObservationSpec({"x": ArraySpec(box.shape, dtype)})
    return CheckedEnv(Shows(), spec, ActionSpec("discrete", 2), index=4)


def test_rounding_at_a_bound_is_no_fault_but_more_is():
    box = gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 1000]))
    checked(box, np.float32([1.0000001, 1000.0001])).reset()
    with pytest.raises(EnvironmentFault, match=r"environment 4, episode 0, step 0: entry 'x' is 1\.01 at index 0"):
        checked(box, np.float32([1.01, 5])).reset()
    with pytest.raises(EnvironmentFault, match="at index 1"):
        checked(box, np.float32([0, -1])).reset()


def test_every_element_has_its_own_bounds():
    box = gym.spaces.Box(np.float32([-1, -np.inf]), np.float32([1, np.inf]))
    checked(box, np.float32([0.5, 1e30])).reset()
    with pytest.raises(EnvironmentFault, match="inf at index 1"):
        checked(box, np.float32([0.5, -np.inf])).reset()


def test_images_must_be_uint8():
    box = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    checked(box, np.zeros((4, 4, 3), np.uint8), "uint8").reset()
    with pytest.raises(EnvironmentFault, match="dtype float32, expected uint8"):
        checked(box, np.zeros((4, 4, 3), np.float32), "uint8").reset()
    with pytest.raises(EnvironmentFault, match="dtype list"):
        checked(box, [[0]], "uint8").reset()


def test_a_factory_that_lies_about_its_entries_is_refused():
    env = FaultyFactory().make()
    with pytest.raises(EnvironmentFault, match=r"expected entries \['other'\]"):
        CheckedEnv(env, ObservationSpec({"other": ArraySpec((3,), "float32")}), ActionSpec("continuous", 2))
