from __future__ import annotations

import numpy as np
import pytest
import torch

from reverie.contracts.specs import ActionSpec
from reverie.errors import EnvironmentFault
from reverie.recipes.schema import Replay as Settings
from reverie.testing.environments import AlignmentFactory, DictFactory, Fault, FaultyFactory, ImageFactory
from reverie.testing.policies import CountingPolicy
from reverie.training.collector import Collector, random_action
from reverie.training.environments import VectorEnvironments
from reverie.training.replay import Replay, ReplayMark


@pytest.fixture
def setup(tmp_path):
    opened = []

    def make(factory=None, count=3, *, seed=0, folder="replay", workers="none", **options):
        factory = AlignmentFactory() if factory is None else factory
        environments = VectorEnvironments(factory, count, workers, seed=seed)
        opened.append(environments)
        settings = Settings(chunk=16)
        replay = Replay(tmp_path / folder, factory.observation, factory.action, count, settings)
        return Collector(CountingPolicy(factory.action), environments, replay, seed=seed, **options)

    yield make
    for environments in opened:
        environments.close()


def test_steps_frames_and_episodes_are_counted(setup):
    collector = setup()
    first = collector.collect("planner", steps=20)
    assert (first.agent_steps, first.frames) == (60, 60)
    second = collector.collect("planner", steps=1)
    assert second.agent_steps == 3
    lengths = sum(result.length for result in first.finished + second.finished)
    open_steps = sum(len(episode.actions) for episode in collector.environments._open)
    assert lengths + open_steps == 63
    resets = 3 + len(first.finished) + len(second.finished)
    assert collector.replay.steps == 63 + resets


def test_frames_of_action_repeat_are_counted(setup):
    class Factory(AlignmentFactory):
        action_repeat = 4

    report = setup(Factory()).collect("random", steps=5)
    assert (report.agent_steps, report.frames) == (15, 60)


def test_whole_episodes(setup):
    collector = setup()
    report = collector.collect("actor", episodes=7)
    assert 7 <= len(report.finished) <= 9
    assert collector.collect("actor", episodes=1).finished
    with pytest.raises(ValueError, match="not both"):
        collector.collect("actor", episodes=1, steps=1)


def test_the_budget_is_overshot_by_less_than_one_vector_step(setup):
    report = setup().collect("random", steps=100, max_frames=31)
    assert report.frames == 33
    assert report.stopped


def test_should_stop_is_asked_before_every_step(setup):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 4

    report = setup(should_stop=stop).collect("planner", steps=100)
    assert report.agent_steps == 4 * 3
    assert report.stopped


def test_statistics_see_every_observation_once_reset_rows_included(setup):
    collector = setup()
    collector.collect("random", steps=25)
    seen = np.concatenate([obs["clock"] for obs in collector.agent.seen])
    tails = [s.tail.columns["obs/clock"][: s.tail.rows] for s in collector.replay._streams if s.tail.rows]
    full = [collector.replay._cache.get(chunk)["obs/clock"] for s in collector.replay._streams for chunk in s.full]
    stored = np.concatenate([*tails, *full])
    assert len(seen) == len(stored) == collector.replay.steps
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, stored.tolist()))


def test_who_acts_and_with_exploration(setup):
    collector = setup()
    collector.collect("random", steps=3)
    assert collector.agent.calls == []
    collector.collect("actor", steps=1)
    collector.collect("planner", steps=2)
    assert [(who, explore) for who, explore, _ in collector.agent.calls] == [("actor", True)] + [("planner", True)] * 2


def test_the_agent_hears_of_first_observations_exactly_when_they_wait(setup):
    collector = setup()
    expected = []
    for _ in range(30):
        if collector.environments.begun:
            expected.append((collector.environments.obs["clock"][:, 1] == 0).tolist())
        else:
            expected.append([True] * 3)
        collector.collect("planner", steps=1)
    assert [first for _, _, first in collector.agent.calls] == expected
    assert sum(map(sum, expected)) > 8


def test_an_agent_that_takes_over_in_the_middle_of_an_episode_starts_afresh(setup):
    collector = setup(FaultyFactory(limit=100))
    collector.collect("planner", steps=2)
    collector.collect("random", steps=2)
    collector.collect("planner", steps=2)
    assert [first for _, _, first in collector.agent.calls] == [[True] * 3, [False] * 3, [True] * 3, [False] * 3]
    # The rows themselves know of one episode only.
    batch = collector.replay.sample(3, 7, np.random.default_rng(0))
    assert batch.is_first.sum() == 3
    assert batch.is_first[:, 0].all()


def test_random_actions_are_a_function_of_seed_environment_and_step():
    continuous, discrete = ActionSpec("continuous", 2), ActionSpec("discrete", 4)
    keys = [(seed, index, step) for seed in range(3) for index in range(4) for step in range(100)]
    drawn = np.stack([random_action(continuous, *key) for key in keys])
    assert np.array_equal(drawn, np.stack([random_action(continuous, *key) for key in keys]))
    assert len({tuple(row) for row in drawn.tolist()}) == len(keys)
    assert drawn.dtype == np.float32
    assert abs(drawn.mean()) < 0.05
    assert abs(drawn.std() - 1 / np.sqrt(3)) < 0.02
    hot = np.stack([random_action(discrete, *key) for key in keys])
    assert (hot.sum(axis=1) == 1).all()
    counts = hot.sum(axis=0)
    assert ((counts - 300) ** 2 / 300).sum() < 16.3  # 99.9% quantile with 3 degrees of freedom


def test_seeds_of_environments_policy_and_random_actions_differ(setup):
    collector = setup(seed=1)
    collector.collect("planner", steps=1)
    seeds = collector._memory.seeds.tolist()
    assert len(set(seeds)) == 3
    other = setup(seed=2, folder="other")
    other.collect("planner", steps=1)
    assert not set(seeds) & set(other._memory.seeds.tolist())


@pytest.mark.parametrize("kind", ["nan", "shape", "dtype", "bounds", "missing", "reward", "raise_step"])
def test_a_faulty_step_never_enters_the_replay(setup, kind):
    collector = setup(FaultyFactory(fault=Fault(kind, step=4, index=1)), 2)
    collector.collect("random", steps=3)
    before = collector.replay.steps
    with pytest.raises(EnvironmentFault, match="environment 1, episode 0, step 4"):
        collector.collect("random", steps=3)
    assert collector.replay.steps == before == 8
    assert torch.isfinite(collector.replay.sample(20, 3, np.random.default_rng(0)).obs["state"]).all()


@pytest.mark.parametrize(
    "make", [AlignmentFactory, lambda: AlignmentFactory(kind="discrete"), DictFactory, ImageFactory]
)
@pytest.mark.parametrize("policies", [("random", "planner"), ("planner", "planner"), ("planner", "random")])
def test_a_restored_collector_goes_on_to_the_same_rows(setup, tmp_path, make, policies):
    """One collects in one go; the other is stopped, saved to a file, and continued by new objects."""
    straight = setup(make(), seed=3, folder="straight")
    straight.collect(policies[0], steps=23)
    straight.collect(policies[1], steps=40)
    stopped = setup(make(), seed=3, folder="stopped")
    stopped.collect(policies[0], steps=23)
    stopped.collect(policies[1], steps=11)
    torch.save({"mark": stopped.replay.flush().to_dict(), "state": stopped.state()}, tmp_path / "checkpoint.pt")
    stopped.collect(policies[1], steps=5)  # beyond the checkpoint: lost
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = setup(make(), seed=3, folder="stopped")
    resumed.replay.restore(ReplayMark.from_dict(saved["mark"]))
    assert resumed.restore(saved["state"]) == []
    report = resumed.collect(policies[1], steps=29)
    assert report.agent_steps == 87
    assert resumed.replay.steps == straight.replay.steps
    one = straight.replay.sample(100, 9, np.random.default_rng(0))
    other = resumed.replay.sample(100, 9, np.random.default_rng(0))
    assert all(torch.equal(one.obs[key], other.obs[key]) for key in one.obs)
    for name in ("action", "reward", "is_first", "is_terminal", "is_last", "step_id"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    if straight._memory is not None:
        memories = zip(straight._memory.tensors().items(), resumed._memory.tensors().values(), strict=True)
        assert all(torch.equal(mine, theirs) for (_, mine), theirs in memories)


def test_a_collector_that_had_not_begun_is_restored_too(setup):
    collector = setup()
    other = setup(folder="other")
    assert other.restore(collector.state()) == []
    assert other.collect("planner").agent_steps == 3


def test_an_episode_that_cannot_be_restored_is_cut_and_said(setup, tmp_path):
    class Restless(AlignmentFactory):
        """Another environment after every start of the program: episodes cannot be played again."""

        salt = 0

        def make(self, index=0, *, render=False):
            env = super().make(index)
            inner, salt = env.reset, Restless.salt
            if index == 1:
                env.reset = lambda *, seed=None, options=None: inner(seed=seed + salt, options=options)
            return env

    collector = setup(Restless(), 2)
    collector.collect("planner", steps=1)
    mark, state = collector.replay.flush(), collector.state()
    Restless.salt = 1
    resumed = setup(Restless(), 2)
    resumed.replay.restore(mark)
    lines = resumed.restore(state)
    assert lines == ["environment 1: its open episode could not be restored and was cut (truncated)"]
    assert resumed.replay.steps == 5  # 2 resets, 2 steps, and the reset after the cut
    resumed.collect("planner", steps=1)
    assert resumed.agent.calls[-1][2] == [False, True]
    one = [s for s in range(200) if resumed.replay.sample(1, 4, np.random.default_rng(s)).is_first.sum() == 2]
    batch = resumed.replay.sample(1, 4, np.random.default_rng(one[0]))
    assert batch.is_last[0].tolist() == [False, True, False, False]
    assert not batch.is_terminal.any()
