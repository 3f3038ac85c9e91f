"""Mixes from day one: one line of a recipe changes one part, and what comes out is looked at."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.assembly.build import build_agent, build_environment
from reverie.cli import main as command_line
from reverie.evaluation.reopen import reopen
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie.training.checkpoint import read_agent_tensors
from reverie.training.run import train

from .conftest import TINY

LEARNING = ["stages.1.ratio=60", "learners.model.lr=3e-3", "stages.1.until.env_steps=60"]
"""Five updates per step, 300 in all: enough for the losses of eight units without a norm to fall."""
NO_DECODER = [line for line in TINY if not line.startswith("decoder")]
BUDGET = [
    "evaluation.episodes=1",
    "logging.every=1",
    "logging.tensorboard=false",
    "trainer.threads=1",
]
"""Nothing about any component."""

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def dreamer(plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trained Dreamer, for all that only look at it."""
    return trained(tmp_path_factory.mktemp("dreamer") / "run", plugins, "dreamer", *TINY, *LEARNING)


def trained(run: Path, plugins: Plugins, recipe: str | Path, *overrides: str) -> Path:
    result = train(prepare(recipe, overrides, plugins=plugins), run_dir=run, progress=False)
    assert result.status == "completed"
    return result.run_dir


def untrained(run: Path, plugins: Plugins) -> Tensors:
    """The weights that the run began with, made again from its lock file."""
    recipe = prepare(run / "recipe.lock.yaml", plugins=plugins)
    torch.manual_seed(recipe.settings.seed)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    return {name: value for name, value in agent.state_dict().items() if isinstance(value, torch.Tensor)}


def changed(before: Tensors, after: Tensors) -> dict[str, bool]:
    """For each slot with weights whether any of them differs."""
    assert before.keys() == after.keys()
    slots: dict[str, bool] = {}
    for name in before:
        parts = name.split(".")
        slot = "/".join(parts[:2]) if parts[0] in ("heads", "objectives", "decoders") else parts[0]
        slots[slot] = slots.get(slot, False) or not torch.equal(before[name], after[name])
    return slots


def losses(run: Path, of: str = "model/") -> dict[str, list[float]]:
    """Every loss of a learner over the lines of metrics; all are finite."""
    with (run / "metrics" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"prefill", "train"}
    found = {name: [float(row[name]) for row in rows if row[name]] for name in rows[0] if name.startswith(of)}
    assert all(values for values in found.values())
    assert all(math.isfinite(value) for values in found.values() for value in values)
    return found


def evaluation(capsys: pytest.CaptureFixture[str], run: Path, *overrides: str) -> dict[str, Any]:
    """What `reverie evaluate` prints."""
    code = command_line.run(["evaluate", str(run), *overrides, "--episodes", "3", "--seed", "7", "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return dict(json.loads(captured.out))


ALL = {"encoder", "dynamics", "decoder", "heads/reward", "heads/continue", "heads/value", "actor"}


def test_dreamer_trains_every_part(dreamer: Path, plugins: Plugins) -> None:
    moved = changed(untrained(dreamer, plugins), read_agent_tensors(dreamer))
    assert moved == dict.fromkeys([*ALL, "normalizers"], True)
    found = losses(dreamer)
    for name in ("model/reconstruction/state", "model/reward"):
        assert found[name][-1] < 0.8 * found[name][0], (name, found[name])


def test_categorical_latents(tmp_path: Path, plugins: Plugins) -> None:
    run = trained(tmp_path / "run", plugins, "dreamer_categorical", *TINY, *LEARNING)
    found = losses(run)
    assert found["model/reconstruction/state"][-1] < 0.8 * found["model/reconstruction/state"][0]
    assert max(found["model/dynamics/kl_dyn"]) > 0
    assert changed(untrained(run, plugins), read_agent_tensors(run)) == dict.fromkeys([*ALL, "normalizers"], True)
    latent = reopen(run, plugins=plugins).agent.initial(2).latent
    assert type(latent).__name__ == "CategoricalLatent"


def test_contrastive_without_a_decoder(tmp_path: Path, plugins: Plugins) -> None:
    run = trained(tmp_path / "run", plugins, "dreamer_contrastive", *NO_DECODER, *LEARNING)
    after = read_agent_tensors(run)
    parts = (ALL - {"decoder"}) | {"objectives/contrastive", "normalizers"}
    assert changed(untrained(run, plugins), after) == dict.fromkeys(parts, True)
    found = losses(run)
    assert not [name for name in found if "reconstruction" in name]
    (contrast,) = [values for name, values in found.items() if name.startswith("model/contrastive/")]
    assert contrast[-1] < 0.9 * contrast[0]
    assert contrast[-1] < math.log(12)  # what guessing among the batch's 2 x 6 observations costs


def test_cem_and_random_shooting_act_on_a_dreamer_run(
    dreamer: Path, plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_agent_tensors(dreamer)
    for planner in ("cem", "random_shooting"):
        said = evaluation(capsys, dreamer, f"planner={planner}", "planner.horizon=3", "planner.candidates=32")
        assert said["planner"] == planner
        assert len(said["returns"]) == 3
        assert said["returns"] == [float(length) for length in said["lengths"]]  # CartPole: one per step
        assert all(1 <= length <= 12 for length in said["lengths"])
        agent = reopen(dreamer, [f"planner={planner}"], plugins=plugins).agent
        assert type(agent.planner).__module__ == f"reverie_plugins.shooting.{planner}"
    assert evaluation(capsys, dreamer)["planner"] == "actor"
    assert changed(before, read_agent_tensors(dreamer)) == dict.fromkeys([*ALL, "normalizers"], False)


def test_training_with_a_planner_and_no_actor_at_all(tmp_path: Path, plugins: Plugins) -> None:
    """PlaNet's shape: a world model, and planning in it."""
    recipe = tmp_path / "planning.yaml"
    recipe.write_text(
        "defaults:\n  - dreamer\n  - override planner: random_shooting\n  - override actor: null\n"
        "  - override heads/value: null\n  - override learners/behaviour: null\n  - _self_\n"
        "planner: {horizon: 3, candidates: 16}\n"
        "stages:\n"
        "  - {name: prefill, collect: {policy: random}, until: {env_steps: 20}}\n"
        "  - {name: train, collect: {policy: planner}, learners: [model], ratio: 6, until: {env_steps: 20}}\n"
    )
    gone = ("actor", "heads.value", "learners.behaviour", "stages")
    run = trained(tmp_path / "run", plugins, recipe, *(line for line in TINY if not line.startswith(gone)))
    assert changed(untrained(run, plugins), read_agent_tensors(run)) == {
        "encoder": True,
        "dynamics": True,
        "decoder": True,
        "heads/reward": True,
        "heads/continue": True,
        "normalizers": True,
    }
    assert losses(run, "behaviour/") == {}


def test_parts_from_a_run_stay_as_they_were(dreamer: Path, tmp_path: Path, plugins: Plugins) -> None:
    """A frozen world model from one run, and what is new beside it learns. The statistics of observations belong to the
    encoder: its weights mean nothing without them, so they stay too."""
    taken = ("encoder", "dynamics", "heads/reward")
    recipe = tmp_path / "again.yaml"
    lines = [f"{slot.replace('/', ': {')}: {{from_run: {dreamer}, freeze: true}}" for slot in taken]
    lines = [line + "}" * line.startswith("heads") for line in lines]
    recipe.write_text("\n".join(["defaults:", "  - dreamer", "  - _self_", *lines, ""]))
    ours = [line for line in TINY if not line.startswith(("encoder", "dynamics", "heads.reward"))]
    run = trained(tmp_path / "run", plugins, recipe, *ours, "seed=3")
    source, after = read_agent_tensors(dreamer), read_agent_tensors(run)
    moved = changed(source, after)
    assert {slot for slot, differs in moved.items() if not differs} == {*taken, "normalizers"}
    began = changed(untrained(run, plugins), after)
    assert {slot for slot, differs in began.items() if differs} == ALL - set(taken)


def test_a_stage_trains_its_own_learners_only(tmp_path: Path, plugins: Plugins) -> None:
    run = trained(tmp_path / "run", plugins, "dreamer", *TINY, "stages.1.learners=[model]", "stages.1.freeze=[decoder]")
    moved = changed(untrained(run, plugins), read_agent_tensors(run))
    assert {slot for slot, differs in moved.items() if not differs} == {"actor", "heads/value", "decoder"}


KEYS = {
    "pendulum": {"state"},
    "cartpole_masked": {"state"},
    "cartpole_pixels": {"image"},
    "cartpole_dict": {"cart", "pole", "camera"},
    "dmc/cartpole_swingup": {"position", "velocity"},
}


@pytest.mark.parametrize("name", KEYS)
def test_nothing_but_the_environment_is_named(name: str, tmp_path: Path, plugins: Plugins) -> None:
    if name.startswith("dmc/"):
        pytest.importorskip("shimmy")
        pytest.importorskip("dm_control")
    frames = prepare("dreamer", [f"env={name}"], plugins=plugins).choices["env"].config.action_repeat
    limits = {"env.time_limit": 12, "stages.prefill.until.env_steps": 70, "stages.train.until.env_steps": 6}
    ends = [f"{key}={steps * frames}" for key, steps in limits.items()]  # all of them count frames
    run = trained(tmp_path / "run", plugins, "dreamer", f"env={name}", *ends, *BUDGET)
    # 6 decisions: at a ratio of 1024 in updates of 1,024 rows, or of 128 with pictures in updates of 256.
    assert json.loads((run / "status.json").read_text())["updates"] == (3 if KEYS[name] & {"image", "camera"} else 6)
    moved = changed(untrained(run, plugins), read_agent_tensors(run))
    assert moved == dict.fromkeys(ALL, True) | ({"normalizers": True} if KEYS[name] != {"image"} else {})
    found = losses(run)
    shown = {key.removeprefix("model/reconstruction/") for key in found if key.startswith("model/reconstruction/")}
    assert shown == KEYS[name]
    assert losses(run, "behaviour/").keys() >= {"behaviour/actor", "behaviour/critic"}
    last = json.loads((run / "metrics" / "evaluations.jsonl").read_text().splitlines()[-1])
    assert math.isfinite(last["mean"])
    assert 1 <= last["lengths"][0] <= 12
