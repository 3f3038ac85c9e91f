"""Data sources: what they read, and one clear error for everything that they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from recorded import play, write_folder, write_minari
from reverie.errors import EnvironmentFault, ReverieError
from reverie.extension.manager import load_plugins
from reverie.training.offline import episodes_of, held_out_indices, survey

PLUGINS = load_plugins()


def source(name: str, **options: Any) -> Any:
    component = PLUGINS.catalogue.get("data", name)
    return component.load()(component.load_config()(**options))


def test_the_same_experience_has_the_same_rows_and_fingerprint_wherever_it_is_read(
    folder: Path, minari_set: Path, episodes: Any
) -> None:
    mine = source("episodes", folder=str(folder), choices=2)
    by_path, by_id = source("minari", dataset=str(minari_set)), source("minari", dataset="cartpole/random-v0")
    assert len(mine) == len(by_path) == len(by_id) == 12
    prints = {survey(one, 0.0).fingerprint for one in (mine, by_path, by_id)}
    assert len(prints) == 1
    for rows, raw in zip(episodes_of(by_id), episodes, strict=True):
        np.testing.assert_array_equal(rows.obs["state"], np.stack(raw["obs"]))
        np.testing.assert_array_equal(rows.action[1:].argmax(1), raw["action"])
        np.testing.assert_array_equal(rows.reward[1:], np.float32(raw["reward"]))
        assert (rows.is_terminal[-1], rows.is_last[-1]) == (raw["terminated"][-1], True)


def test_another_number_in_any_place_has_another_fingerprint(episodes: Any, tmp_path: Path) -> None:
    known = survey(source("episodes", folder=str(write_folder(episodes, tmp_path / "0")), choices=2), 0.0).fingerprint
    for number, (key, change) in enumerate({"obs": 0.5, "reward": 2.0, "action": 1, "terminated": True}.items()):
        changed = [{name: list(values) for name, values in rows.items()} for rows in episodes]
        last = changed[3][key][-1]
        changed[3][key][-1] = not last if key == "terminated" else last + change if key != "action" else 1 - last
        folder = write_folder(changed, tmp_path / f"changed-{number}")
        assert survey(source("episodes", folder=str(folder), choices=2), 0.0).fingerprint != known, key


def test_actions_are_scaled_from_the_environments_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pendulum takes torques in [-2, 2]; beyond its bounds an environment clips, and so do we."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = gym.make("Pendulum-v1", max_episode_steps=5)
    torques = iter([np.array([value], np.float32) for value in (-2.0, 2.0, 1.0, 0.0, 3.0)])
    recorded = play(env, 1, lambda obs: next(torques))
    found = source("minari", dataset=str(write_minari(recorded, env, tmp_path, "pendulum/test-v0")))
    (rows,) = episodes_of(found)
    np.testing.assert_allclose(rows.action[:, 0], [0.0, -1.0, 1.0, 0.5, 0.0, 1.0])
    assert not rows.is_terminal.any(), "a time limit is no true end"
    assert rows.is_last[-1]
    assert (found.observation["state"].low, found.observation["state"].high) == (-8.0, 8.0)


def test_dictionaries_keep_their_entries_and_can_hide_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.testing.environments import DictFactory

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    factory = DictFactory()
    env = factory.make()
    place = str(write_minari(play(env, 2), env, tmp_path, "dict/test-v0"))
    whole = source("minari", dataset=place)
    assert {key: spec.shape for key, spec in whole.observation.items()} == {
        key: spec.shape for key, spec in factory.observation.items()
    }
    hidden = next(iter(whole.observation))
    assert set(source("minari", dataset=place, hide=[hidden]).observation) == set(whole.observation) - {hidden}
    with pytest.raises(EnvironmentFault, match=r"names the entry 'nothing', but there are only"):
        source("minari", dataset=place, hide=["nothing"])


@pytest.mark.parametrize(
    ("episodes", "share", "held"),
    [(10, 0.1, {5}), (10, 0.3, {1, 5, 8}), (1, 0.5, set()), (2, 0.9, {1}), (3, 0.0, set())],
)
def test_held_out_episodes_are_spread_and_never_all(episodes: int, share: float, held: set[int]) -> None:
    assert held_out_indices(episodes, share) == held


def npz(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    rows = {"obs": np.zeros((4, 2)), "action": np.zeros((3, 1)), "reward": np.zeros(3), "terminated": False}
    np.savez(folder / "one.npz", **{name: value for name, value in {**rows, **changes}.items() if value is not None})
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reward": None}, "one.npz lacks reward; it holds obs, action, terminated"),
        ({"obs": None}, "one.npz lacks obs"),
        ({"obs": np.zeros((3, 2))}, "has 3 observations for 3 rewards, not 4"),
        ({"action": np.zeros((2, 1))}, "2 actions for 3 rewards"),
        ({"action": np.full((3, 1), 2.0)}, "'action' is 2.0 at row 1"),
        ({"obs": np.full((4, 2), np.nan)}, "'state' is nan at row 0"),
        ({"reward": np.array([0, np.inf, 0])}, "'reward' is inf at row 2"),
        ({"terminated": np.array([True, False, False])}, "true in the middle"),
        ({"obs": np.array([{}, 1, 2, 3], dtype=object)}, "cannot be read"),
        ({"action": np.zeros(3, np.int64)}, "data.choices"),
        ({"obs": np.zeros((1, 2)), "action": np.zeros((0, 1)), "reward": np.zeros(0)}, "0 steps"),
    ],
)
def test_files_that_are_no_episodes(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ReverieError, match=told):
        survey(source("episodes", folder=str(npz(tmp_path / "bad", **changes))), 0.0)


def test_a_discrete_action_beyond_the_choices(tmp_path: Path) -> None:
    place = npz(tmp_path / "bad", action=np.array([0, 1, 2]))
    with pytest.raises(EnvironmentFault, match=r"episode 0 of the data: an action outside 0 \.\.\. 1"):
        survey(source("episodes", folder=str(place), choices=2), 0.0)


def test_files_that_disagree(tmp_path: Path) -> None:
    place = npz(tmp_path / "bad")
    np.savez(place / "two.npz", obs=np.zeros((4, 3)), action=np.zeros((3, 1)), reward=np.zeros(3), terminated=True)
    with pytest.raises(EnvironmentFault, match="episode 1 of the data: entry 'state' is float32"):
        survey(source("episodes", folder=str(place)), 0.0)


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(ReverieError, match="no folder"):
        source("episodes", folder=str(tmp_path / "nowhere"))
    with pytest.raises(ReverieError, match=r"holds no \.npz file"):
        source("episodes", folder=str(tmp_path))
    with pytest.raises(ReverieError, match="no local data set 'pendulum/expert-v0', and nothing is downloaded"):
        source("minari", dataset="pendulum/expert-v0")
    with pytest.raises(ReverieError, match="cannot be opened"):
        source("minari", dataset=str(tmp_path))
