"""Models of Stable-Baselines3 by our evaluation protocol: as they act on Gymnasium's own environments."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from reverie.cli.main import run as reverie
from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import RunError
from reverie.evaluation.stable_baselines import ModelPolicy, load_model

STATE = ObservationSpec({"state": ArraySpec((3,), "float32")})
BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ppo.zip`, which learned a little of CartPole, and `sac.zip`, which has the weights that it began with."""
    library = pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("models")
    library.PPO("MlpPolicy", "CartPole-v1", n_steps=64, n_epochs=2, seed=0, device="cpu").learn(64).save(folder / "ppo")
    library.SAC("MlpPolicy", "Pendulum-v1", seed=0, device="cpu", buffer_size=10).save(folder / "sac")
    return folder


def returns_by_hand(model: Any, id: str, seeds: range) -> list[float]:
    """The library's own answers in Gymnasium's own environment, which knows nothing of our standard form."""
    found = []
    for seed in seeds:
        env = gym.make(id)
        obs, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        found.append(total)
    return found


@pytest.mark.parametrize(
    ("name", "env", "id"), [("ppo", "cartpole", "CartPole-v1"), ("sac", "pendulum", "Pendulum-v1")]
)
def test_returns_are_those_of_the_library_in_the_raw_environment(
    name: str, env: str, id: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(models / f"{name}.zip"), f"env={env}", "--sb3", name, "--trust-pickle"]
    assert reverie([*words, "--episodes", "2", "--seed", "5", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    expected = returns_by_hand(load_model(models / f"{name}.zip", name, trust_pickle=True), id, range(5, 7))
    assert found["returns"] == pytest.approx(expected, rel=1e-3)
    assert (found["algorithm"], found["environment"], found["seeds"]) == (name.upper(), id, [5, 6])
    assert f"{name}.zip is trusted: reading it runs the code in it" in said.err


def test_drawn_actions_are_repeatable_and_a_random_policy_stands_beside(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(models / "ppo.zip"),
        "env=cartpole",
        "--sb3",
        "PPO",
        "--trust-pickle",
        "--random",
        "--json",
    ]
    found = []
    for mode in ("sample", "sample", "mode"):
        assert reverie([*words, "--episodes", "3", "--mode", mode]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["returns"] == found[1]["returns"] != found[2]["returns"]
    assert found[0]["random"]["seeds"] == found[0]["seeds"]
    assert reverie(words[:-1]) == 0
    out = capsys.readouterr().out
    for word in ("PPO on CartPole-v1", "a model of Stable-Baselines3", "agent", "random", "protocol: 5 episodes"):
        assert word in out


REFUSALS: dict[str, tuple[list[str], str]] = {
    "not trusted": (["env=cartpole", "--sb3", "ppo"], "reading it runs any code that its author put there"),
    "no class": (["env=cartpole", "--trust-pickle"], "nothing of Reverie's own is a pickle"),
    "neither": ([], "a model of Stable-Baselines3 can be evaluated by `reverie evaluate` with --sb3"),
    "misspelt": (["env=cartpole", "--sb3", "pppo", "--trust-pickle"], "no algorithm 'pppo' (did you mean 'ppo'?)"),
    "another class": (["env=cartpole", "--sb3", "sac", "--trust-pickle"], "cannot be read as a SAC"),
    "another environment": (["env=pendulum", "--sb3", "ppo", "--trust-pickle"], "has other observations"),
    "no environment": (["--sb3", "ppo", "--trust-pickle"], "no environment is named"),
    "a planner": (["env=cartpole", "planner=cem", "--sb3", "ppo", "--trust-pickle"], "'planner' cannot be given here"),
    "a checkpoint": (
        ["env=cartpole", "--sb3", "ppo", "--trust-pickle", "--checkpoint", "x", "--world-model"],
        "--checkpoint and --world-model: a model of Stable-Baselines3 has neither",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_clear_message(case: str, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, message = REFUSALS[case]
    assert reverie(["evaluate", str(models / "ppo.zip"), *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert not said.out


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "x.zip", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(RunError, match=words):
            load_model(path, "ppo", trust_pickle=True)


def model(observations: Any, actions: Any, *answers: Any) -> Any:
    """Answers one after another, and keeps what it was shown."""
    seen: list[Any] = []
    said = iter(answers)

    def predict(obs: Any, deterministic: bool) -> tuple[Any, None]:
        seen.append((obs, deterministic))
        return next(said), None

    return SimpleNamespace(observation_space=observations, action_space=actions, predict=predict, seen=seen)


def test_actions_are_brought_from_the_models_bounds_to_ours() -> None:
    bounds = gym.spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
    made = model(BOX, bounds, np.array([[-2, 10], [1, 5], [3, 2.5]], np.float32))
    action, state = ModelPolicy(made, STATE, ActionSpec("continuous", 2)).act(
        {"state": np.zeros((3, 3), np.float32)}, 3, np.zeros(3, bool)
    )
    assert action.tolist() == [[-1, 1], [0.5, 0], [1, -0.5]]
    assert (action.dtype, state, made.seen[0][1]) == (np.float32, 3, True)


def test_choices_become_one_hot_and_exploring_draws_them() -> None:
    made = model(BOX, gym.spaces.Discrete(3, start=2), np.array([2, 4]))
    policy = ModelPolicy(made, STATE, ActionSpec("discrete", 3))
    action, _ = policy.act({"state": np.zeros((2, 3))}, policy.initial(2), np.zeros(2, bool), explore=True)
    assert action.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert made.seen[0][1] is False


def test_a_model_reads_the_entry_that_fits_or_the_whole_dictionary() -> None:
    picture = ArraySpec((8, 8, 3), "uint8")
    both = ObservationSpec({"state": ArraySpec((3,), "float32"), "image": picture})
    turned = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8)  # as the library keeps pictures
    obs = {"state": np.ones((1, 3), np.float32), "image": np.zeros((1, 8, 8, 3), np.uint8)}
    choice = gym.spaces.Discrete(2)
    for space, expected in ((BOX, "state"), (turned, "image"), (gym.spaces.Dict({"state": BOX}), None)):
        made = model(space, choice, np.array([0]))
        ModelPolicy(made, both, ActionSpec("discrete", 2)).act(obs, 1, np.zeros(1, bool))
        assert made.seen[0][0] is obs[expected] if expected else made.seen[0][0].keys() == obs.keys()


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)),
        (gym.spaces.Discrete(3), gym.spaces.Discrete(2)),
        (gym.spaces.Dict({"other": BOX}), gym.spaces.Discrete(2)),
        (BOX, gym.spaces.Discrete(3)),
        (BOX, gym.spaces.Box(-1, 1, (2,))),
        (BOX, gym.spaces.MultiDiscrete([2])),
    ],
)
def test_other_spaces_are_refused(space: Any, actions: Any) -> None:
    with pytest.raises(RunError, match=r"this model has other (observations|actions) than the environment: "):
        ModelPolicy(model(space, actions), STATE, ActionSpec("discrete", 2))


def test_two_entries_of_one_shape_are_no_answer() -> None:
    twins = ObservationSpec({"a": ArraySpec((3,), "float32"), "b": ArraySpec((3,), "float32")})
    with pytest.raises(RunError, match="other observations"):
        ModelPolicy(model(BOX, gym.spaces.Discrete(2)), twins, ActionSpec("discrete", 2))


def test_unbounded_actions_cannot_be_scaled() -> None:
    with pytest.raises(RunError, match="other actions"):
        ModelPolicy(model(BOX, gym.spaces.Box(-np.inf, np.inf, (2,))), STATE, ActionSpec("continuous", 2))
