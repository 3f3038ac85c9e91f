"""Stable-Baselines3 learns inside a dream whose model has only seen random actions, and is judged outside of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import reverie
from recorded import play, write_folder

EPISODES = 150
"""Of random CartPole, about 3,300 steps."""
UPDATES = 1_500
STEPS = 6_144
"""Dreamed by PPO."""
JUDGED = 20


@pytest.mark.slow
def test_ppo_from_a_dream_plays_cartpole_better_than_random(tmp_path: Path) -> None:
    """No step of the real environment is taken by PPO or by anything that it taught. All three seeds count."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    folder = write_folder(play(gym.make("CartPole-v1"), EPISODES), tmp_path / "random")
    options = [
        "data=episodes",
        f"data.folder={folder}",
        "data.choices=2",
        "stages.learn.learners=[model]",
        f"stages.learn.until.updates={UPDATES}",
        "evaluation.every=null",
        "logging.tensorboard=false",
    ]
    run = reverie.train("offline", options, run_dir=tmp_path / "run").run_dir
    random = np.mean([len(rows["reward"]) for rows in play(gym.make("CartPole-v1"), JUDGED, seed=1_000)])
    means = []
    for seed in range(3):
        dream = {"run": str(run), "time_limit": 200}
        env = make_vec_env("reverie/Dream-v0", n_envs=4, seed=seed, env_kwargs=dream)
        policy = PPO(
            "MlpPolicy", env, n_steps=256, batch_size=256, gae_lambda=0.98, gamma=0.98, learning_rate=1e-3, seed=seed
        )
        policy.learn(STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the environment is not wrapped in SB3's monitor
            mean, _ = evaluate_policy(policy, gym.make("CartPole-v1"), n_eval_episodes=JUDGED)
        means.append(float(mean))
    print(f"random {random:.1f}, from the dream {means}")
    assert min(means) > 2 * random
