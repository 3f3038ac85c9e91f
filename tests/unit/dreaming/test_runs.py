"""Dreams of trained runs: Gymnasium's own checker, ids, rendering, starts in the replay."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import reverie
from reverie.dreaming.env import DreamEnv
from reverie.errors import RunError
from reverie.evaluation.reopen import reopen


def checked(env: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spaces of latents have no bounds, and that is right
        check_env(env.unwrapped, skip_render_check=env.render_mode is None)


@pytest.mark.parametrize("observation", ["decoded", "latent"])
@pytest.mark.parametrize("which", ["run", "image_run", "blind_run"])
def test_gymnasiums_checker_passes(which: str, observation: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    if which == "blind_run" and observation == "decoded":
        with pytest.raises(RunError, match="no decoder"):
            gym.make("reverie/Dream-v0", run=run)
        return
    mode = None if which == "blind_run" else "rgb_array"
    env = gym.make("reverie/Dream-v0", run=run, observation=observation, render_mode=mode)
    checked(env)
    checked(gym.make("reverie/Real-v0", run=run, observation=observation))


def test_the_ids_make_what_the_function_makes(run: Path) -> None:
    made = gym.make("reverie/Dream-v0", run=run, temperature=0.5)
    own = reverie.dream_env(run, temperature=0.5)
    assert np.array_equal(made.reset(seed=4)[0], own.reset(seed=4)[0])
    assert np.array_equal(made.step(1)[0], own.step(1)[0])
    vector = gym.make_vec("reverie/Dream-v0", num_envs=3, run=run, temperature=0.5)
    assert type(vector) is type(reverie.dream_env(run, num_envs=3))
    obs, _ = vector.reset(seed=4)
    np.testing.assert_allclose(obs[0], own.reset(seed=4)[0], rtol=1e-5)
    assert vector.step(np.ones(3, np.int64))[0].shape == (3, 4)
    assert vector.observation_space.contains(obs)


def test_gymnasiums_wrappers_work_around_a_dream(run: Path) -> None:
    env = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(gym.make("reverie/Dream-v0", run=run), 3))
    env.reset(seed=0)
    info: dict[str, Any] = {}
    while "episode" not in info:
        *_, info = env.step(env.action_space.sample())
    assert 1 <= info["episode"]["l"] <= 3
    vector = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("reverie/Dream-v0", num_envs=2, run=run))
    vector.reset(seed=0)
    for _ in range(15):
        *_, info = vector.step(vector.action_space.sample())
    assert vector.episode_count >= 2


def test_pictures_are_drawn_by_the_environment_that_can(run: Path, image_run: Path) -> None:
    drawn = gym.make("reverie/Dream-v0", run=run, render_mode="rgb_array")
    drawn.reset(seed=0)
    assert (drawn.render().shape, drawn.render().dtype) == ((400, 600, 3), np.uint8)
    seen = gym.make("reverie/Dream-v0", run=image_run, render_mode="rgb_array")
    obs, _ = seen.reset(seed=0)
    picture = seen.render()
    assert picture.shape == (128, 128, 3), "32 pixels, enlarged by a whole factor"
    assert np.array_equal(picture[::4, ::4], obs["camera"])


def test_a_dream_begins_at_a_row_of_the_replay_that_is_no_end(run: Path) -> None:
    """The state is the agent's own filter's, over the rows of the replay that a second reader finds."""
    opened = reopen(run)
    env = DreamEnv(opened, context=4, observation="latent")
    obs, _ = env.reset(seed=11)
    random = gym.utils.seeding.np_random(11)[0]
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    replay = env._dreams.starts._opened()
    batch = replay.sample(1, 4, random)
    while bool(batch.is_last[0, -1]):
        batch = replay.sample(1, 4, random)
    agent, first = opened.agent, batch.is_first.clone()
    first[:, 0] = True
    with torch.no_grad():
        sampling = reverie_sampling(generator)
        embed = agent.encoder(agent.preprocess(batch.obs), sampling)
        state = agent.dynamics.observe(embed, batch.action, first, sampling=sampling).last
    np.testing.assert_allclose(obs, state.features[0].numpy(), rtol=1e-6, atol=1e-6)


def reverie_sampling(generator: torch.Generator) -> Any:
    from reverie.contracts import Sampling

    return Sampling("sample", 1.0, [generator])


def test_rows_that_end_an_episode_begin_no_dream(run: Path) -> None:
    env = DreamEnv(run, context=1)
    starts = env._dreams.starts
    random = np.random.default_rng(0)
    drawn = [starts._row(random) for _ in range(200)]
    assert not any(bool(batch.is_last[0, -1]) for batch in drawn)
    everything = [starts._opened().sample(1, 1, random) for _ in range(200)]
    assert any(bool(batch.is_last[0, -1]) for batch in everything), "the replay holds ends"


def test_a_run_without_its_replay_says_where_to_begin_instead(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    shutil.rmtree(bare / "replay")
    env = DreamEnv(bare)
    with pytest.raises(RunError, match=r"without its replay.*start='environment'"):
        env.reset(seed=0)
    for start in ("environment", "model"):
        obs, _ = DreamEnv(bare, start=start).reset(seed=0)
        assert np.isfinite(obs).all()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        reverie.dream_env(tmp_path)


@pytest.mark.parametrize("order", ["gymnasium, reverie", "reverie, gymnasium", "gymnasium.envs, reverie"])
def test_the_ids_are_known_in_any_order_of_imports(order: str) -> None:
    code = (
        f"import {order}, sys\nassert 'torch' not in sys.modules\n"
        "assert {'reverie/Dream-v0', 'reverie/Real-v0'} <= set(gymnasium.registry)\n"
        "assert not [finder for finder in sys.meta_path if 'Gymnasium' in type(finder).__name__]\n"
        "assert type(gymnasium.envs.__loader__).__name__ == 'SourceFileLoader'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_reverie_imports_no_gymnasium() -> None:
    code = "import reverie, sys\nassert not {'gymnasium', 'numpy', 'torch', 'tempfile'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gymnasiums_recorder_films_a_dream(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of our own stands in for moviepy, which is not among the test tools."""
    films: dict[str, list[Any]] = {}

    class ImageSequenceClip:
        def __init__(self, frames: list[Any], fps: int) -> None:
            self.frames = frames

        def write_videofile(self, path: str, **options: Any) -> None:
            films[Path(path).name] = self.frames

    names = ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip")
    modules = {name: types.ModuleType(name) for name in names}
    vars(modules[names[-1]])["ImageSequenceClip"] = ImageSequenceClip
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    dream = gym.make("reverie/Dream-v0", run=run, render_mode="rgb_array", time_limit=5, termination="never")
    env = gym.wrappers.RecordVideo(dream, str(tmp_path), episode_trigger=lambda number: True)
    env.reset(seed=0)
    for _ in range(5):
        *_, truncated, _ = env.step(env.action_space.sample())
    env.close()
    assert truncated
    (frames,) = films.values()
    assert [frame.shape for frame in frames] == [(400, 600, 3)] * 6, "the first picture and one after each step"
    assert not np.array_equal(frames[0], frames[-1])
