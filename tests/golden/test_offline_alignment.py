"""o_t = f(a_{t-1}), from Minari sets and folders of episodes: every action and reward stands where it arrived."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from recorded import play, write_folder, write_minari
from reverie.extension.manager import load_plugins
from reverie.recipes.schema import Replay as ReplaySettings
from reverie.testing.environments import AlignmentFactory, alignment_errors
from reverie.training.offline import episodes_of
from reverie.training.replay import Replay

EPISODES = 12


@pytest.fixture(params=["minari", "episodes"])
def source(request, tmp_path, monkeypatch):
    kind = request.node.callspec.params["kind"]
    env = AlignmentFactory(kind=kind).make()
    recorded = play(env, EPISODES)
    if request.param == "minari":
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        options = {"dataset": str(write_minari(recorded, env, tmp_path, "alignment/test-v0"))}
    else:
        choices = {"choices": 3} if kind == "discrete" else {}
        options = {"folder": str(write_folder(recorded, tmp_path / "folder")), **choices}
    component = load_plugins().catalogue.get("data", request.param)
    return component.load()(component.load_config()(**options))


def columns(rows, pick=np.asarray):
    names = ("action", "reward", "is_first", "is_terminal", "is_last")
    return {
        **{key: pick(value) for key, value in rows.obs.items()},
        **{name: pick(getattr(rows, name)) for name in names},
    }


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_recorded_episodes_are_aligned_at_every_index(kind, source, tmp_path):
    assert len(source) == EPISODES
    replay = Replay(tmp_path / "replay", source.observation, source.action, 1, ReplaySettings(chunk=16))
    ends = set()
    for rows in episodes_of(source):
        assert alignment_errors(columns(rows)) == []
        ends.add(bool(rows.is_terminal[-1]))
        replay.add(0, rows)
    assert ends == {True, False}, "true ends and time limits were both seen"
    rng = np.random.default_rng(0)
    batch = replay.sample(64, 9, rng)
    crossing = 0
    for b in range(64):
        assert alignment_errors(columns(batch, lambda value, b=b: np.asarray(value[b]))) == []
        crossing += bool(batch.is_first[b, 1:].any())
    assert crossing > 10, "chunks cross episodes"
