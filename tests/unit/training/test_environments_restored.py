"""Environments go on where they were: by their own state, by playing an episode again, or from the next one."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import EnvironmentFault
from reverie.testing.environments import AlignmentFactory, DictFactory, Fault, FaultyFactory

from .environments_played import BOTH, play


class Stateful(gym.Env):
    """Offers its state, and could not be played again: its noise ignores the seed."""

    observation_space = gym.spaces.Dict({"x": gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self):
        self.x = 0.0

    def _seen(self):
        return {"x": np.array([self.x], np.float32)}

    def reset(self, *, seed=None, options=None):
        self.x = float(np.random.default_rng().integers(10**6))  # exact in float32
        return self._seen(), {}

    def step(self, action):
        self.x += 1.0
        return self._seen(), 0.0, False, False, {}

    def get_state(self):
        return {"x": np.array([self.x])}

    def set_state(self, state):
        self.x = float(state["x"][0])


class Noisy(Stateful):
    """Offers its state without the generator that its next steps draw from, and would play differently again."""

    generators = "PCG64"

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.np_random = np.random.Generator(getattr(np.random, self.generators)(seed))
        self.x = float(np.random.default_rng().integers(1000))
        return self._seen(), {}

    def step(self, action):
        self.x += float(self.np_random.integers(1, 1000))
        return self._seen(), 0.0, False, False, {}


class NoisyOldStyle(Noisy):
    """With a generator whose state is an array."""

    generators = "MT19937"


class Remembers(gym.Wrapper):
    """Shows the observation before: a wrapper with a state of its own."""

    def __init__(self, env):
        super().__init__(env)
        self.before = None

    def reset(self, **options):
        obs, info = self.env.reset(**options)
        self.before = obs
        return obs, info

    def step(self, action):
        obs, *rest = self.env.step(action)
        before, self.before = self.before, obs
        return before, *rest


class SeededStateful(Stateful):
    """Offers its state, and could be played again too."""

    def reset(self, *, seed=None, options=None):
        self.x = float(np.random.default_rng(seed).integers(10**6))
        return self._seen(), {}


class Broken(SeededStateful):
    """Its state cannot be put back."""

    def set_state(self, state):
        raise RuntimeError("another version")


class Unruly(Stateful):
    """Offers nothing and cannot be played again."""

    get_state = None
    set_state = None


def factory_of(env_class, limit=None):
    class Factory(FaultyFactory):
        def __init__(self):
            super().__init__()
            self.observation = ObservationSpec({"x": ArraySpec((1,), "float32")})
            self.action = ActionSpec("continuous", 1)

        def make(self, index=0, *, render=False):
            env = env_class()
            return gym.wrappers.TimeLimit(env, limit) if limit else env

    return Factory()


def through_a_file(state, tmp_path):
    torch.save(state, tmp_path / "state.pt")
    return torch.load(tmp_path / "state.pt", weights_only=True)


@BOTH
@pytest.mark.parametrize("make", [AlignmentFactory, lambda: AlignmentFactory(kind="discrete"), DictFactory])
def test_restored_environments_go_on_as_if_nothing_had_happened(vector, workers, make, tmp_path):
    original = vector(make(), 3, workers, seed=4)
    original.begin()
    play(original, 17)
    state = through_a_file(original.state(), tmp_path)
    restored = vector(make(), 3, workers, seed=4)
    assert restored.restore(state) == []
    assert all(np.array_equal(original.obs[key], restored.obs[key]) for key in original.obs)
    for one, other in zip(play(original, 30, seed=1), play(restored, 30, seed=1), strict=True):
        assert all(np.array_equal(one.rows.obs[key], other.rows.obs[key]) for key in one.rows.obs)
        assert np.array_equal(one.rows.reward, other.rows.reward)
        assert np.array_equal(one.resets.action, other.resets.action)
        assert one.finished == other.finished


def test_restoring_takes_the_environments_own_state_and_its_time_limit(vector, tmp_path):
    original = vector(factory_of(Stateful, limit=6), 2, seed=4)
    original.begin()
    for _ in range(4):
        original.step(np.zeros((2, 1)))
    state = through_a_file(original.state(), tmp_path)
    restored = vector(factory_of(Stateful, limit=6), 2, seed=4)
    assert restored.restore(state) == []
    assert np.array_equal(restored.obs["x"], original.obs["x"])
    five, six = restored.step(np.zeros((2, 1))), restored.step(np.zeros((2, 1)))
    assert five.rows.obs["x"].tolist() == (original.obs["x"] + 1).tolist()
    assert not five.rows.is_last.any()
    assert six.rows.is_last.all()
    assert [result.length for result in six.finished] == [6, 6]


@BOTH
@pytest.mark.parametrize("kind", [Noisy, NoisyOldStyle])
def test_the_generator_of_an_environment_is_part_of_its_state(vector, workers, kind, tmp_path):
    original = vector(factory_of(kind), 2, workers, seed=4)
    original.begin()
    for _ in range(3):
        original.step(np.zeros((2, 1)))
    restored = vector(factory_of(kind), 2, workers, seed=4)
    assert restored.restore(through_a_file(original.state(), tmp_path)) == []
    for _ in range(3):
        one, other = original.step(np.zeros((2, 1))), restored.step(np.zeros((2, 1)))
        assert np.array_equal(one.rows.obs["x"], other.rows.obs["x"])


@pytest.mark.parametrize("make", [lambda: Remembers(SeededStateful()), Broken])
def test_where_a_state_does_not_bring_everything_back_the_episode_is_played_again(vector, make, tmp_path):
    original = vector(factory_of(make), 1, seed=4)
    original.begin()
    for _ in range(3):
        original.step(np.zeros((1, 1)))
    restored = vector(factory_of(make), 1, seed=4)
    assert restored.restore(through_a_file(original.state(), tmp_path)) == []
    one, other = original.step(np.zeros((1, 1))), restored.step(np.zeros((1, 1)))
    assert np.array_equal(one.rows.obs["x"], other.rows.obs["x"])


@BOTH
def test_what_cannot_be_restored_is_reported_and_stands_at_its_next_episode(vector, workers, tmp_path):
    original = vector(factory_of(Unruly), 2, workers, seed=4)
    original.begin()
    original.step(np.zeros((2, 1)))
    restored = vector(factory_of(Unruly), 2, workers, seed=4)
    assert restored.restore(through_a_file(original.state(), tmp_path)) == [0, 1]
    rows = restored.first_rows([0, 1])
    assert rows.is_first.all()
    assert np.array_equal(rows.obs["x"], restored.obs["x"])
    assert [episode.number for episode in restored._open] == [1, 1]
    assert not restored.step(np.zeros((2, 1))).rows.is_first.any()


def test_restoring_what_had_not_begun(vector):
    environments = vector(AlignmentFactory(), 2)
    other = vector(AlignmentFactory(), 2)
    assert other.restore(environments.state()) == []
    assert not other.begun


def test_faults_after_a_restore_still_name_the_right_step(vector):
    fault = Fault("nan", step=4, episode=0)
    original = vector(FaultyFactory(fault=fault), 1)
    original.begin()
    for _ in range(3):
        original.step(np.zeros((1, 2)))
    restored = vector(FaultyFactory(fault=fault), 1)
    restored.restore(original.state())
    with pytest.raises(EnvironmentFault, match="episode 0, step 4"):
        restored.step(np.zeros((1, 2)))
