"""Recorded CartPole, and a tiny run that learned from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the modules above this folder, whatever pytest's import mode
sys.path.insert(0, str(Path(__file__).parent))

from offline_recipe import OFFLINE

from recorded import play, write_folder, write_minari


@pytest.fixture(scope="session")
def episodes() -> Any:
    return play(gym.make("CartPole-v1"), 12)


@pytest.fixture(scope="session")
def folder(episodes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(episodes, tmp_path_factory.mktemp("recorded") / "cartpole")


@pytest.fixture(scope="session")
def minari_set(episodes: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        yield write_minari(episodes, gym.make("CartPole-v1"), root, "cartpole/random-v0")


@pytest.fixture(scope="session")
def from_folder(folder: Path) -> list[str]:
    return ["data=episodes", f"data.folder={folder}", "data.choices=2"]


@pytest.fixture(scope="session")
def run(from_folder: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from the folder; there is no environment in it."""
    from reverie.api import train

    place = tmp_path_factory.mktemp("runs") / "offline"
    assert train("offline", [*OFFLINE, *from_folder], run_dir=place).status == "completed"
    return place
