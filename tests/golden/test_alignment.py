"""o_t = f(a_{t-1}): every way in which experience enters Reverie, checked at every index."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from reverie.recipes.schema import Replay as ReplaySettings
from reverie.testing.environments import NAMES, AlignmentFactory, alignment_errors, echo, plan_of
from reverie.testing.policies import CountingPolicy
from reverie.training.collector import Collector
from reverie.training.environments import VectorEnvironments
from reverie.training.replay import Replay
from reverie.training.rows import LoopConverter, Rows, encode_action, episode_rows

KINDS = ["continuous", "discrete"]


def columns(rows, row=None):
    """Plain arrays of rows, or of row `row` of a batch."""
    pick = np.asarray if row is None else (lambda value: np.asarray(value[row]))
    return {
        **{key: pick(value) for key, value in rows.obs.items()},
        "action": pick(rows.action),
        "reward": pick(rows.reward),
        "is_first": pick(rows.is_first),
        "is_terminal": pick(rows.is_terminal),
        "is_last": pick(rows.is_last),
    }


def collected(tmp_path, kind, *, workers="none", steps=60, count=3, chunk=16):
    factory = AlignmentFactory(kind=kind)
    environments = VectorEnvironments(factory, count, workers, seed=5)
    settings = ReplaySettings(chunk=chunk)
    replay = Replay(tmp_path, factory.observation, factory.action, count, settings)
    collector = Collector(CountingPolicy(factory.action), environments, replay, seed=5)
    try:
        collector.collect("random", steps=7)  # the policy changes in the middle of episodes
        collector.collect("planner", steps=steps - 7)
    finally:
        environments.close()
    return replay


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", ["none", "processes"])
def test_collector_replay_and_batch_are_aligned_at_every_index(tmp_path, kind, workers):
    replay = collected(tmp_path, kind, workers=workers)
    batch = replay.sample(64, 30, np.random.default_rng(0))
    found = [error for row in range(64) for error in alignment_errors(columns(batch, row))]
    # The end of a batch may cut an episode, but nothing in it may be wrong.
    assert found == []
    names = batch.obs["clock"][:, :, 0]
    assert batch.is_first[:, 1:].any(), "no chunk crosses an episode border, so the test shows nothing"
    assert batch.is_terminal.any()
    assert (batch.is_last & ~batch.is_terminal).any()
    assert len(set(names.flatten().tolist())) > 6


def test_environments_end_at_different_times(tmp_path):
    factory = AlignmentFactory()
    environments = VectorEnvironments(factory, 3, seed=5)
    environments.begin()
    ends = [environments.step(np.zeros((3, 3))).reset for _ in range(40)]
    environments.close()
    alone = [end for end in ends if end.sum() == 1]
    assert len(alone) > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["action", "reward", "echo", "is_first", "is_terminal", "is_last", "clock"])
def test_a_shift_by_one_of_any_column_is_found(tmp_path, kind, column):
    replay = collected(tmp_path, kind)
    batch = replay.sample(1, 40, np.random.default_rng(1))
    shifted = columns(batch, 0)
    shifted[column] = np.roll(shifted[column], 1, axis=0)
    assert alignment_errors(shifted)


def vector_loop(kind, mode, steps=80, count=3):
    """Rows per stream from a loop of Gymnasium's own, as someone outside would write it."""
    factory = AlignmentFactory(kind=kind)
    vector = SyncVectorEnv([factory.make] * count, autoreset_mode=mode)
    converter = LoopConverter(factory.action, mode)
    vector.action_space.seed(3)
    obs, _ = vector.reset(seed=11)
    streams = [[rows] for rows in converter.reset(obs)]
    for _ in range(steps):
        action = vector.action_space.sample()
        obs, reward, terminated, truncated, infos = vector.step(action)
        arrived = converter.step(action, obs, reward, terminated, truncated, infos)
        over = terminated | truncated
        for stream, rows in zip(streams, arrived, strict=True):
            stream.append(rows)
        if mode == AutoresetMode.DISABLED and over.any():
            obs, _ = vector.reset(options={"reset_mask": over})
            for stream, rows in zip(streams, converter.reset(obs, over), strict=True):
                stream.append(rows)
    return [Rows.cat(parts) for parts in streams]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_loops_of_all_three_autoreset_modes_are_aligned(kind, mode):
    streams = vector_loop(kind, mode)
    for rows in streams:
        assert alignment_errors(columns(rows)) == []
        assert rows.is_terminal.sum() > 2
        assert (rows.is_last & ~rows.is_terminal).sum() > 2
    # NEXT_STEP spends a step on every reset; the others give the first row besides.
    extra = [len(rows) - 81 for rows in streams]
    assert all(number == 0 for number in extra) if mode == AutoresetMode.NEXT_STEP else all(n > 5 for n in extra)


def test_next_step_read_as_if_it_were_another_mode_is_found():
    factory = AlignmentFactory()
    vector = SyncVectorEnv([factory.make], autoreset_mode=AutoresetMode.NEXT_STEP)
    wrong = LoopConverter(factory.action, AutoresetMode.DISABLED)
    wrong_rows = [wrong.reset(vector.reset(seed=0)[0])[0]]
    for _ in range(20):
        action = vector.action_space.sample()
        wrong._ended = np.zeros(1, bool)  # silence its own complaint
        wrong_rows.append(wrong.step(action, *vector.step(action))[0])
    assert alignment_errors(columns(Rows.cat(wrong_rows)))


@pytest.mark.parametrize("kind", KINDS)
def test_episodes_of_a_data_set_are_aligned(kind):
    factory = AlignmentFactory(kind=kind)
    env = factory.make()
    parts = []
    for seed in range(8):
        env.action_space.seed(seed)
        first, _ = env.reset(seed=seed)
        seen, actions, rewards, ends = [first], [], [], []
        over = False
        while not over:
            actions.append(env.action_space.sample())
            obs, reward, terminated, truncated, _ = env.step(actions[-1])
            seen.append(obs)
            rewards.append(reward)
            ends.append(terminated)
            over = terminated or truncated
        stacked = {key: np.stack([one[key] for one in seen]) for key in first}
        parts.append(episode_rows(stacked, np.stack(actions), np.array(rewards), np.array(ends), spec=factory.action))
    assert alignment_errors(columns(Rows.cat(parts))) == []


def test_the_environment_is_a_function_of_the_last_action_only():
    env = AlignmentFactory(size=2).make()
    env.reset(seed=0)
    action = np.array([0.5, -1.0], np.float32)
    obs, *_ = env.step(action)
    assert obs["echo"].tolist() == [-0.25, 0.5]  # 0.25 + 0.5 * the action, mirrored
    assert echo(np.zeros(2)).tolist() == [0.25, 0.25]
    assert {plan_of(name) for name in range(NAMES)} == {(n, truly) for n in range(3, 8) for truly in (True, False)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_environment_keeps_to_gymnasium(kind):
    from gymnasium.utils.env_checker import check_env

    class Registered(gym.Wrapper):
        pass

    env = AlignmentFactory(kind=kind).make()
    check_env(env, skip_render_check=True)


def test_discrete_numbers_and_one_hot_actions_are_the_same_rows():
    spec = AlignmentFactory(kind="discrete").action
    assert np.array_equal(encode_action(np.array([2, 0]), spec), np.eye(3, dtype=np.float32)[[2, 0]])
    assert np.array_equal(encode_action(np.eye(3, dtype=np.float32), spec), np.eye(3, dtype=np.float32))
