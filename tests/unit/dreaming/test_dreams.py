"""What happens inside a dream, beside a loop in float64 and beside the real world that the model knows exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy_world import EDGE, LIMIT, A, B, C

from reverie.dreaming.env import DreamEnv
from reverie.dreaming.real import RealEnv
from reverie.dreaming.vector import DreamVectorEnv
from reverie.errors import ReverieError, RunError

START = {"start": "environment"}


def episode(env: Any, seed: int, steps: int = 200, policy: Any = None) -> dict[str, Any]:
    """Rows of one episode under pseudo-random (or the given) actions."""
    actions = np.random.default_rng(99)
    obs, _ = env.reset(seed=seed)
    rows: dict[str, Any] = {"obs": [obs], "action": [], "reward": [], "goes_on": []}
    for _ in range(steps):
        action = actions.uniform(-1, 1, 1).astype(np.float32) if policy is None else policy(obs)
        obs, reward, terminated, truncated, info = env.step(action)
        rows["obs"].append(obs)
        rows["action"].append(action)
        rows["reward"].append(reward)
        rows["goes_on"].append(info.get("goes_on"))
        if terminated or truncated:
            break
    return rows | {"terminated": terminated, "truncated": truncated}


def test_a_dream_of_a_known_world_is_that_world(world: Any) -> None:
    """States, rewards and ends by A, B and C in float64, from the dream's own first observation and actions."""
    ends = set()
    for seed in range(12):
        found = episode(DreamEnv(world(), termination="threshold", **START), seed)
        x = np.asarray(found["obs"][0], np.float64)
        for step, action in enumerate(found["action"]):
            x = A @ x + B @ action.astype(np.float64)
            np.testing.assert_allclose(found["obs"][step + 1], x, rtol=2e-5, atol=2e-5)
            np.testing.assert_allclose(found["reward"][step], C @ x, rtol=2e-5, atol=2e-5)
            assert found["goes_on"][step] == (0.0 if x[0] > EDGE else 1.0)
        assert found["terminated"] == (x[0] > EDGE)
        assert found["terminated"] or len(found["action"]) == LIMIT, "the real limit, in agent steps"
        assert found["truncated"] == (not found["terminated"])
        ends.add(found["terminated"])
    assert ends == {True, False}, "both kinds of end were seen"


@pytest.mark.parametrize("observation", ["decoded", "latent"])
def test_the_real_environment_has_the_dreams_spaces_and_rows(world: Any, observation: Any) -> None:
    opened = world()
    dream = DreamEnv(opened, observation=observation, termination="threshold", **START)
    real = RealEnv(opened, observation=observation)
    assert real.observation_space == dream.observation_space
    assert real.action_space == dream.action_space
    begun = episode(real, 3)
    x = np.asarray(begun["obs"][0], np.float64)
    for step, action in enumerate(begun["action"]):
        x = A @ x + B @ action.astype(np.float64)
        np.testing.assert_allclose(begun["obs"][step + 1], x, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(begun["reward"][step], C @ x, rtol=2e-5, atol=2e-5)


def test_ends_are_drawn_with_the_predicted_chance(world: Any) -> None:
    env = DreamVectorEnv(world(inside=0.8), 500, time_limit=1_000, **START)
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(np.zeros((500, 1), np.float32))
    assert np.allclose(info["goes_on"], 0.8)
    assert abs(terminated.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 500)
    assert not truncated.any()


def test_thresholds_and_no_ends_at_all(world: Any) -> None:
    zero = lambda obs: np.zeros(1, np.float32)  # noqa: E731
    low = episode(DreamEnv(world(inside=0.4), termination="threshold", **START), 0, policy=zero)
    assert (low["terminated"], len(low["reward"])) == (True, 1)
    lower = DreamEnv(world(inside=0.4), termination="threshold", threshold=0.3, time_limit=5, **START)
    assert episode(lower, 0, policy=zero)["truncated"]
    never = episode(DreamEnv(world(inside=0.0), termination="never", time_limit=7, **START), 0, policy=zero)
    assert (never["terminated"], never["truncated"], len(never["reward"])) == (False, True, 7)


def test_a_discount_in_the_continue_target_is_no_end(world: Any) -> None:
    """A head trained on 0.9 where the task goes on says 0.9, and means that it certainly goes on."""
    env = DreamEnv(world(inside=0.9, folded=0.9), **START)
    env.reset(seed=1)
    assert env.step(np.zeros(1, np.float32))[4]["goes_on"] == pytest.approx(1.0)
    half = DreamEnv(world(inside=0.45, folded=0.9), **START)
    half.reset(seed=1)
    assert half.step(np.zeros(1, np.float32))[4]["goes_on"] == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_temperature_scales_the_variance_of_what_is_drawn(world: Any, temperature: float) -> None:
    """x' ~ N(A x + B a, 0.1^2 I) at temperature 1; its variance is multiplied by the temperature, its mean is not."""
    n = 2_000
    env = DreamVectorEnv(world(noise=0.1), n, temperature=temperature, start="model", termination="never")
    env.reset(seed=0)
    obs = env.step(np.full((n, 1), 0.5, np.float32))[0]  # the model begins at x = 0
    mean = B[:, 0] * 0.5
    deviation = 0.1 * np.sqrt(temperature)
    assert np.abs(obs.mean(0) - mean).max() < 5 * deviation / np.sqrt(n)
    np.testing.assert_allclose(obs.std(0), deviation, rtol=5 / np.sqrt(2 * n))


def test_seeds_decide_everything_and_rows_are_single_dreams(world: Any) -> None:
    options = {"inside": 0.9, "noise": 0.1}
    single = [episode(DreamEnv(world(**options), **START), seed) for seed in (5, 6, 7)]
    again = episode(DreamEnv(world(**options), **START), 5)
    assert all(np.array_equal(one, other) for one, other in zip(single[0]["obs"], again["obs"], strict=True))
    assert not np.array_equal(single[0]["obs"][0], single[1]["obs"][0])
    env = DreamVectorEnv(world(**options), 3, **START)
    obs, _ = env.reset(seed=5)
    actions = np.random.default_rng(99)
    over = np.zeros(3, bool)
    for step in range(10):
        for row in np.flatnonzero(~over):
            np.testing.assert_allclose(obs[row], single[row]["obs"][step], rtol=1e-6, atol=1e-6)
        if over.all():
            break
        action = np.repeat(actions.uniform(-1, 1, (1, 1)).astype(np.float32), 3, 0)
        obs, _, terminated, truncated, _ = env.step(action)
        over |= np.array([step + 1 >= len(one["reward"]) for one in single])
        assert (terminated | truncated)[over & (step + 1 == np.array([len(one["reward"]) for one in single]))].all()


def test_a_dream_that_ended_begins_anew_in_the_next_step(world: Any) -> None:
    env = DreamVectorEnv(world(inside=1.0), 2, time_limit=3, **START)
    obs, _ = env.reset(seed=0)
    push = np.full((2, 1), 0.1, np.float32)
    for step in range(3):
        obs, reward, terminated, truncated, _ = env.step(push)
        assert truncated.all() == (step == 2)
    last = obs.copy()
    obs, reward, terminated, truncated, _ = env.step(np.ones((2, 1), np.float32))
    assert (reward == 0).all()
    assert not (terminated | truncated).any()
    assert (np.abs(obs) <= 1).all(), "first observations of the world lie in [-1, 1]"
    assert not np.array_equal(obs, last)
    following, reward, *_ = env.step(push)
    np.testing.assert_allclose(following, obs @ A.T + push @ B.T, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(reward, following @ C, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 0}, "temperature must be above 0"),
        ({"temperature": -1.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"observation": "pixels"}, "decoded, latent"),
        ({"start": "anywhere"}, "replay, environment, model"),
        ({"termination": "sometimes"}, "sample, threshold, never"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"time_limit": 0}, "at least 1"),
        ({"context": 0}, "at least 1"),
    ],
)
def test_options_that_make_no_sense(world: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ReverieError, match=told):
        DreamEnv(world(), **options)


def test_an_unknown_option_names_those_that_exist(world: Any) -> None:
    with pytest.raises(TypeError, match=r"no option temprature; it has .*temperature"):
        DreamEnv(world(), temprature=1.0)


def test_what_a_dream_cannot_do_is_said(world: Any) -> None:
    silent = world()
    silent.agent.decoder = None
    with pytest.raises(RunError, match=r"no decoder.*observation='latent'"):
        DreamEnv(silent)
    with pytest.raises(RunError, match="cannot be rendered"):
        DreamEnv(silent, observation="latent", render_mode="rgb_array")
    with pytest.raises(ReverieError, match="'rgb_array', not 'human'"):
        DreamEnv(world(), render_mode="human")
    with pytest.raises(RunError, match="reset"):
        DreamEnv(world()).step(np.zeros(1, np.float32))
    env = DreamEnv(world(), **START)
    env.reset(seed=0)
    for wrong in (np.zeros(2), np.array([np.nan]), np.zeros((2, 2))):
        with pytest.raises(ReverieError, match="finite numbers"):
            env.step(wrong)
    with pytest.raises(ReverieError, match="at least one, not 0"):
        DreamVectorEnv(world(), 0)
    with pytest.raises(ReverieError, match="3 seeds for 2"):
        DreamVectorEnv(world(), 2, **START).reset(seed=[1, 2, 3])
