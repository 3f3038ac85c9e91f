"""Every environment that comes with Reverie: it fits Dreamer, a batch goes through, and training runs on a handful.

Each is looked at where it is installed. `reverie train dreamer env=NAME` with nothing else said must work for all of
them; the runs at the end do so with sizes and budgets that a test can afford.
"""

import csv
import json
import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
from reverie.contracts import EnvironmentFactory
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.environments import VectorEnvironments
from reverie.training.run import train

ROOT = Path(__file__).parents[2]
NAMES = sorted(
    path.relative_to(ROOT / "recipes/env").with_suffix("").as_posix() for path in ROOT.glob("recipes/env/**/*.yaml")
)
PACKAGES = {
    "dmc": ("shimmy", "dm_control"),
    "minatar": ("minatar",),
    "minigrid": ("minigrid",),
    "car_racing": ("Box2D",),
}
SMALL = [
    "dynamics.deter=8",
    "dynamics.hidden=8",
    "dynamics.groups=2",
    "dynamics.classes=3",
    "encoder.units=8",
    "encoder.depth=2",
    "decoder.units=8",
    "decoder.depth=2",
    "heads.reward.units=8",
    "heads.continue.units=8",
    "heads.value.units=8",
    "actor.units=8",
    "learners.behaviour.horizon=3",
]


def installed(name: str) -> None:
    for package in PACKAGES.get(name.partition("/")[0], ()):
        pytest.importorskip(package)


@cache
def plugins() -> Plugins:
    return load_plugins()


def recipe_of(name: str, *overrides: str) -> Recipe:
    return prepare("dreamer", [f"env={name}", *SMALL, *overrides], plugins=plugins())


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_dreamer_and_plays(name: str) -> None:
    installed(name)
    recipe = recipe_of(name)
    factory = build_environment(recipe)
    torch.manual_seed(0)
    agent = build_agent(recipe, factory.observation, factory.action)
    assert list(probe(recipe, agent, build_learners(recipe, agent))) == []
    environments = VectorEnvironments(factory, 1, seed=0)  # stops at every value that is not as declared
    environments.begin()
    rng = np.random.default_rng(0)
    for _ in range(4):
        drawn = rng.uniform(-1, 1, (1, factory.action.size))
        rows = environments.step(np.eye(factory.action.size)[drawn.argmax(1)] if factory.action.is_discrete else drawn)
        assert rows.frames == factory.action_repeat
    environments.close()
    assert described(factory) == documented()[name]


def described(factory: EnvironmentFactory) -> tuple[str, ...]:
    """What the table of docs/environments.md has to say, from the environment itself."""
    shapes = ", ".join(f"{key} {' x '.join(map(str, spec.shape))}" for key, spec in factory.observation.items())
    kind = "choices" if factory.action.is_discrete else "continuous"
    limit = factory.time_limit  # type: ignore[attr-defined]  # of this plugin's factory
    return shapes, f"{factory.action.size} {kind}", str(factory.action_repeat), f"{limit:,}"


@cache
def documented() -> dict[str, tuple[str, ...]]:
    text = (ROOT / "docs/environments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9_/]+)` \| (.+?) \| (.+?) \| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    return {name: tuple(columns) for name, *columns, _ in rows}


def test_the_page_has_a_row_for_each_and_no_other() -> None:
    assert sorted(documented()) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("minigrid/")])
def test_the_mission_that_is_hidden_says_the_same_in_every_episode(name: str) -> None:
    installed(name)
    env = build_environment(recipe_of(name)).make()
    missions = set()
    for seed in range(8):
        env.reset(seed=seed)
        missions.add(env.unwrapped.mission)  # type: ignore[attr-defined]  # of MiniGrid
    assert len(missions) == 1


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("pendulum_masked", {"state"}),
        ("dmc/finger_turn_hard", {"dist_to_target", "position", "target_position", "touch", "velocity"}),
        ("dmc/walker_walk", {"height", "orientations", "velocity"}),
        ("minatar/seaquest", {"image"}),
        ("minigrid/doorkey_5x5", {"direction", "image"}),
    ],
)
def test_it_trains(name: str, entries: set[str], tmp_path: Path) -> None:
    installed(name)
    frames = 2 if name.startswith("dmc/") else 1
    limits = {"env.time_limit": 12, "stages.prefill.until.env_steps": 70, "stages.train.until.env_steps": 6}
    overrides = [f"{key}={steps * frames}" for key, steps in limits.items()]  # all of them count frames
    overrides += ["evaluation.episodes=1", "logging.every=1", "logging.tensorboard=false", "trainer.threads=1"]
    train(recipe_of(name, *overrides), run_dir=tmp_path / "run", progress=False)
    run = tmp_path / "run"
    status = json.loads((run / "status.json").read_text())
    assert status["updates"] > 0
    assert status["env_steps"] == 76 * frames
    with (run / "metrics" / "metrics.csv").open(newline="") as file:
        columns = [key for row in csv.DictReader(file) for key, value in row.items() if value]
    shown = {key.removeprefix("model/reconstruction/") for key in columns if key.startswith("model/reconstruction/")}
    assert shown == entries
    last = json.loads((run / "metrics" / "evaluations.jsonl").read_text().splitlines()[-1])
    assert math.isfinite(last["mean"])
    assert 1 <= last["lengths"][0] <= 12
