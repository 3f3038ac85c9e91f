"""Recorded experience for tests: played here, written as Minari sets and folders of episodes. Nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np


def play(env: gym.Env[Any, Any], episodes: int, policy: Callable[[Any], Any] | None = None, seed: int = 0) -> list[Any]:
    """Episodes as dicts of lists: T + 1 observations, T actions, rewards, terminations and truncations."""
    env.action_space.seed(seed)
    found = []
    for number in range(episodes):
        obs, _ = env.reset(seed=seed + number)
        rows: dict[str, list[Any]] = {"obs": [obs], "action": [], "reward": [], "terminated": [], "truncated": []}
        while not (rows["terminated"] and (rows["terminated"][-1] or rows["truncated"][-1])):
            action = env.action_space.sample() if policy is None else policy(obs)
            obs, reward, terminated, truncated, _ = env.step(action)
            values = (obs, action, reward, terminated, truncated)
            for name, value in zip(("obs", "action", "reward", "terminated", "truncated"), values, strict=True):
                rows[name].append(value)
        found.append(rows)
    return found


def write_minari(episodes: list[Any], env: gym.Env[Any, Any], root: Path, name: str) -> Path:
    """A Minari set below `root`; the folder that holds it. The caller sets MINARI_DATASETS_PATH to `root`."""
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            id=number,
            observations=_stacked(rows["obs"]),
            actions=np.array(rows["action"]),
            rewards=rows["reward"],
            terminations=rows["terminated"],
            truncations=rows["truncated"],
            infos={},
        )
        for number, rows in enumerate(episodes)
    ]
    spaces = {"action_space": env.action_space, "observation_space": env.observation_space}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a set of a test has no author
        minari.create_dataset_from_buffers(name, buffers, data_format="hdf5", **spaces)
    return root / name


def write_folder(episodes: list[Any], folder: Path) -> Path:
    """One .npz file for each episode."""
    folder.mkdir(parents=True)
    for number, rows in enumerate(episodes):
        obs = _stacked(rows["obs"])
        entries = {f"obs/{key}": value for key, value in obs.items()} if isinstance(obs, dict) else {"obs": obs}
        np.savez(
            folder / f"episode-{number:04d}.npz",
            **entries,
            action=np.array(rows["action"]),
            reward=np.array(rows["reward"]),
            terminated=np.array(rows["terminated"]),
            truncated=np.array(rows["truncated"]),
        )
    return folder


def _stacked(obs: list[Any]) -> Any:
    return {key: np.stack([one[key] for one in obs]) for key in obs[0]} if isinstance(obs[0], dict) else np.stack(obs)
