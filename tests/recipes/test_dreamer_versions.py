"""The published Dreamers as recipes: what they decide, against tables written by hand, and that they train.

Sources are named in docs/recipes/dreamer.md. `size` decides the rest, and is checked at the end.
"""

import csv
import math
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from recorded import play, write_folder
from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
from reverie.extension.config import ByObservation
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.checkpoint import read_agent_tensors
from reverie.training.run import train

V1 = {
    "settings": {
        "observations.vectors": "none",
        "exploration.noise": 0.3,
        "replay.batch_size": 50,
        "replay.length": 50,
        "evaluation.mode": "mode",
    },
    "encoder": {"norm": "none", "activation": "elu"},
    "decoder": {"norm": "none", "activation": "elu", "vector_scale": 0.5, "image_scale": 0.5},
    "dynamics": {
        "latent": "gaussian", "groups": 30, "min_std": 0.1, "cell": "standard", "blocks": 1, "initial": "zeros",
        "layers": 1, "prior_layers": None, "norm": "none", "activation": "elu",
        "kl.free": "mean", "kl.free_nats": 3.0, "kl.scale": 1.0, "kl.balance": None,
    },
    "heads/reward": {
        "name": "gaussian", "norm": "none", "activation": "elu", "std": 1.0, "symlog": False, "zero_init": False,
    },
    "heads/continue": {"name": "bernoulli", "norm": "none", "activation": "elu"},
    "heads/value": {
        "name": "gaussian", "norm": "none", "activation": "elu", "std": 1.0, "symlog": False, "zero_init": False,
    },
    "actor": {
        "norm": "none", "activation": "elu", "distribution": "tanh_normal", "mean_scale": 5.0, "init_std": 5.0,
        "min_std": 1e-4, "unimix": 0.0, "output_scale": 1.0,
    },
    "learners/model": {
        "optimizer": "adam", "lr": 6e-4, "eps": 1e-7, "warmup": 0, "weight_decay": 0.0, "grad_clip": 100.0,
        "adaptive_clip": None, "reward_scale": 1.0, "continue_scale": 10.0, "continue_discount": 0.99,
    },
    "learners/behaviour": {
        "gradient": "dynamics", "horizon": 15, "starts": None, "discount": 1.0, "continues": "mean", "lam": 0.95,
        "entropy": 0.0, "targets": "online", "slow_regulariser": 0.0, "scale_returns": False, "baseline": False,
        "replay_value": 0.0, "optimizer": "adam", "actor_lr": 8e-5, "critic_lr": 8e-5, "eps": 1e-7, "warmup": 0,
        "grad_clip": 100.0, "adaptive_clip": None, "discount_per": "decision", "actor_betas": (0.9, 0.999),
    },
}  # fmt: skip
PUBLISHED_2023 = {
    "settings": {
        "observations.vectors": "symlog",
        "exploration.noise": 0.0,
        "replay.batch_size": 16,
        "replay.length": 64,
        "evaluation.mode": "sample",
    },
    "encoder": {"norm": "layer", "activation": "silu"},
    "decoder": {"norm": "layer", "activation": "silu", "vector_scale": 1.0, "image_scale": 1.0},
    "dynamics": {
        "latent": "categorical", "unimix": 0.01, "cell": "normalized", "blocks": 1, "initial": "learned", "layers": 1,
        "prior_layers": None, "norm": "layer", "activation": "silu",
        "kl.free": "each", "kl.free_nats": 1.0, "kl.dyn": 0.5, "kl.rep": 0.1,
    },
    "heads/reward": {
        "name": "two_hot", "norm": "layer", "activation": "silu", "variant": "symlog_linear", "bins": 255,
        "low": -20.0, "high": 20.0, "zero_init": True,
    },
    "heads/continue": {"name": "bernoulli", "norm": "layer", "activation": "silu"},
    "heads/value": {
        "name": "two_hot", "norm": "layer", "activation": "silu", "variant": "symlog_linear", "bins": 255,
        "low": -20.0, "high": 20.0, "zero_init": True,
    },
    "actor": {
        "norm": "layer", "activation": "silu", "distribution": "normal", "min_std": 0.1, "max_std": 1.0,
        "init_std": None, "unimix": 0.01, "output_scale": 1.0,
    },
    "learners/model": {
        "optimizer": "adam", "lr": 1e-4, "eps": 1e-8, "warmup": 0, "weight_decay": 0.0, "grad_clip": 1000.0,
        "adaptive_clip": None, "reward_scale": 1.0, "continue_scale": 1.0, "continue_discount": 1.0,
    },
    "learners/behaviour": {
        "gradient": "auto", "horizon": 15, "starts": None, "discount": 0.997, "continues": "mode", "lam": 0.95,
        "entropy": 3e-4, "targets": "online", "slow_rate": 0.02, "slow_every": 1, "slow_regulariser": 1.0,
        "scale_returns": True, "return_decay": 0.99, "baseline": True, "replay_value": 0.0, "optimizer": "adam",
        "actor_lr": 3e-5, "critic_lr": 3e-5, "eps": 1e-5, "warmup": 0, "grad_clip": 100.0, "adaptive_clip": None,
        "discount_per": "decision", "actor_betas": (0.9, 0.999),
    },
}  # fmt: skip
CURRENT = {
    "settings": PUBLISHED_2023["settings"],
    "encoder": {"norm": "rms", "activation": "silu", "layers": 3},
    "decoder": {"norm": "rms", "activation": "silu", "layers": 3, "vector_scale": 1.0, "image_scale": 1.0},
    "dynamics": {
        "latent": "categorical", "unimix": 0.01, "cell": "normalized", "blocks": 8, "initial": "zeros", "layers": 1,
        "prior_layers": 2, "norm": "rms", "activation": "silu",
        "kl.free": "each", "kl.free_nats": 1.0, "kl.dyn": 1.0, "kl.rep": 0.1,
    },
    "heads/reward": {
        "name": "two_hot", "norm": "rms", "activation": "silu", "layers": 1, "variant": "symexp_spaced", "bins": 255,
        "low": -20.0, "high": 20.0, "zero_init": True,
    },
    "heads/continue": {"name": "bernoulli", "norm": "rms", "activation": "silu", "layers": 1},
    "heads/value": {
        "name": "two_hot", "norm": "rms", "activation": "silu", "layers": 3, "variant": "symexp_spaced", "bins": 255,
        "low": -20.0, "high": 20.0, "zero_init": True,
    },
    "actor": {
        "norm": "rms", "activation": "silu", "layers": 3, "distribution": "normal", "min_std": 0.1, "max_std": 1.0,
        "init_std": None, "unimix": 0.0, "output_scale": 0.01,
    },
    "learners/model": {
        "optimizer": "laprop", "lr": 4e-5, "eps": 1e-20, "warmup": 1000, "weight_decay": 0.0, "grad_clip": None,
        "adaptive_clip": 0.3, "reward_scale": 1.0, "continue_scale": 1.0, "continue_discount": 0.997,
    },
    "learners/behaviour": {
        "gradient": "reinforce", "horizon": 15, "starts": None, "discount": 1.0, "continues": "mean", "lam": 0.95,
        "entropy": 3e-4, "targets": "online", "slow_rate": 0.02, "slow_every": 1, "slow_regulariser": 1.0,
        "scale_returns": True, "return_decay": 0.99, "replay_value": 0.3, "replay_value_into_model": True,
        "replay_discount": 0.997, "optimizer": "laprop", "actor_lr": 4e-5, "critic_lr": 4e-5, "eps": 1e-20,
        "warmup": 1000, "grad_clip": None, "adaptive_clip": 0.3, "discount_per": "decision",
        "actor_betas": (0.9, 0.999),
    },
}  # fmt: skip
VERSIONS: dict[str, dict[str, dict[str, Any]]] = {
    "dreamer_v1": V1,
    "dreamer_2023": PUBLISHED_2023,
    "dreamer_current": CURRENT,
}
PLUGINS = load_plugins()


@cache
def recipe(name: str, *overrides: str) -> Recipe:
    return prepare(name, overrides, plugins=PLUGINS)


def found(prepared: Recipe, slot: str, key: str) -> Any:
    if key == "name":
        return prepared.choices[slot].name
    value: Any = prepared.settings if slot == "settings" else prepared.choices[slot].config
    for part in key.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", VERSIONS)
def test_what_a_version_decides(name: str) -> None:
    wrong = {
        f"{slot}.{key}": (found(recipe(name), slot, key), wanted)
        for slot, table in VERSIONS[name].items()
        for key, wanted in table.items()
        if found(recipe(name), slot, key) != wanted
    }
    assert not wrong, "found, wanted"


@pytest.mark.parametrize("name", VERSIONS)
def test_no_version_leans_on_defaults_that_are_tuned(name: str) -> None:
    """What a table holds is written in the recipe, or switches off something that came later."""
    off = (None, 0, 0.0, False, 1, "mean", "zeros", "normalized")
    leaning = [
        f"{slot}.{key}"
        for slot, table in VERSIONS[name].items()
        for key, wanted in table.items()
        if slot != "settings" and key != "name" and wanted not in off
        if key.partition(".")[0] not in recipe(name).choices[slot].config.model_fields_set
    ]
    assert not leaning


def test_the_ratios_and_prefills_of_each_version() -> None:
    def stages(name: str) -> list[tuple[str, int | None, Any]]:
        return [
            (stage.collect.policy, stage.until.agent_steps, (stage.ratio_for(False), stage.ratio_for(True)))
            for _, stage in recipe(name).settings.flat_stages()
        ]

    # V1: 100 updates of 50 x 50 every 1,000 frames, that is 500 decisions.
    assert stages("dreamer_v1") == [("random", 2500, (None, None)), ("planner", None, (500, 500))]
    assert stages("dreamer_2023") == [("random", 1024, (None, None)), ("planner", None, (512, 512))]
    assert stages("dreamer_current") == [("planner", 1024, (None, None)), ("planner", None, (1024, 256))]


TABLE = Path(__file__).parents[2] / "docs/recipes/dreamer.md"
COLUMNS = ("dreamer_v1", "dreamer_2023", "dreamer_current", "dreamer")


def rows_of_the_table() -> list[tuple[str, list[str]]]:
    """The rows of docs/recipes/dreamer.md that begin with an option: its name, and what each version has."""
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 + len(COLUMNS) and cells[0].startswith("`"):
            found.append((cells[0].strip("`"), cells[1:-1]))
    return found


def told(prepared: Recipe, option: str) -> str:
    """What a recipe has for an option, as the table writes it; a dash where its component has no such option."""
    slot, _, key = option.rpartition(".")
    slot, deeper = slot.replace("learners.", "learners/").replace("heads.", "heads/"), ""
    if slot.startswith("dynamics."):
        slot, deeper = "dynamics", slot.partition(".")[2] + "."
    if option.replace(".", "/") in prepared.choices:
        return prepared.choices[option.replace(".", "/")].name
    if option == "stages.train.ratio":
        train = [stage for _, stage in prepared.settings.flat_stages()][-1]
        ratios = {train.ratio_for(False), train.ratio_for(True)}
        return " / ".join(f"{ratio:g}" for ratio in sorted(ratios, reverse=True))
    if slot not in prepared.choices:
        slot, key = "settings", option
    try:
        value = found(prepared, slot, deeper + key)
    except AttributeError:
        return "-"
    if isinstance(value, ByObservation):
        return f"{value.vectors:g} / {value.images:g}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_table_in_the_documents_is_what_the_recipes_have() -> None:
    rows = rows_of_the_table()
    assert len(rows) > 40
    prepared = [recipe(name) for name in COLUMNS]
    wrong = [
        f"| `{option}` | should read | {' | '.join(told(one, option) for one in prepared)} |"
        for option, cells in rows
        if cells != [told(one, option) for one in prepared]
    ]
    assert not wrong, f"docs/recipes/dreamer.md, section Versions:\n{chr(10).join(wrong)}"


def test_recorded_data_are_learned_by_the_same_model(tmp_path: Path) -> None:
    """`offline` cannot inherit from a recipe with an environment, and must not fall behind it."""
    folder = write_folder(play(gym.make("CartPole-v1"), 4), tmp_path / "recorded")
    online, recorded = recipe("dreamer"), recipe("offline", f"data.folder={folder}", "data.choices=2")
    for slot in online.choices.keys() - {"env"}:
        assert recorded.choices[slot].config == online.choices[slot].config, slot
    assert recorded.settings.observations == online.settings.observations
    assert recorded.settings.replay.batch_size == online.settings.replay.batch_size
    assert recorded.settings.replay.length == online.settings.replay.length


def built(prepared: Recipe) -> tuple[Any, Any]:
    torch.manual_seed(0)
    factory = build_environment(prepared)
    agent = build_agent(prepared, factory.observation, factory.action)
    return agent, build_learners(prepared, agent)


@pytest.mark.parametrize("env", ["cartpole", "pendulum", "cartpole_dict"])
@pytest.mark.parametrize("name", VERSIONS)
def test_the_parts_of_a_version_fit_for_every_kind_of_action_and_observation(name: str, env: str) -> None:
    prepared = recipe(name, f"env={env}")
    agent, learners = built(prepared)
    assert [str(problem) for problem in probe(prepared, agent, learners)] == []
    by_score = {"dreamer_v1": (), "dreamer_2023": ("cartpole", "cartpole_dict"), "dreamer_current": (env,)}[name]
    assert learners["behaviour"].reinforce == (env in by_score)


TINY = [
    "env.time_limit=12",
    "dynamics={deter: 8, hidden: 8, groups: 2, classes: 3, kl: {free_nats: 0}}",  # so small a state stays below them
    *[f"{slot}.units=8" for slot in ("encoder", "decoder", "actor", "heads.reward", "heads.continue", "heads.value")],
    "learners.behaviour={horizon: 3, starts: 4}",
    "replay={batch_size: 2, length: 6, chunk: 32}",
    "stages.0.until={agent_steps: 20}",
    "stages.1.until.env_steps=20",
    "stages.1.ratio=6",
    "evaluation={every: null, episodes: 1}",
    "logging={every: 10, tensorboard: false}",
]


@pytest.mark.parametrize(
    ("name", "env"), [("dreamer_v1", "pendulum"), ("dreamer_2023", "cartpole"), ("dreamer_current", "pendulum")]
)
def test_each_version_trains(name: str, env: str, tmp_path: Path) -> None:
    prepared = recipe(name, f"env={env}", *TINY)
    result = train(prepared, run_dir=tmp_path / "run", progress=False)
    assert result.status == "completed"
    with (result.run_dir / "metrics/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = {key for row in rows for key, value in row.items() if key.startswith(("model/", "behaviour/")) and value}
    assert {"behaviour/actor", "behaviour/critic", "model/reward", "model/continue"} <= losses
    assert ("behaviour/replay_critic" in losses) == (name == "dreamer_current")
    assert ("model/dynamics/kl" in losses) == (name == "dreamer_v1")
    assert all(math.isfinite(float(row[key])) for row in rows for key in losses if row[key])
    before, after = built(prepared)[0].state_dict(), read_agent_tensors(result.run_dir)
    still = {key for key, value in after.items() if value.is_floating_point() and torch.equal(value, before[key])}
    trained = ("encoder.", "dynamics.", "decoder.", "actor.", "heads.")
    # The slow first steps of a warm-up are below the resolution of weights that begin at one.
    assert not {key for key in still if key.startswith(trained) and "norm.weight" not in key}


PUBLISHED_SIZES = {
    "dreamer_v1": {"v1": {"deter": 200, "hidden": 200, "units": 300, "layers": 3, "depth": 32}},
    "dreamer_2023": {
        "v3_xs": {"deter": 256, "hidden": 256, "units": 256, "layers": 1, "depth": 24},
        "v3_s": {"deter": 512, "hidden": 512, "units": 512, "layers": 2, "depth": 32},
        "v3_m": {"deter": 1024, "hidden": 640, "units": 640, "layers": 3, "depth": 48},
        "v3_l": {"deter": 2048, "hidden": 768, "units": 768, "layers": 4, "depth": 64},
        "v3_xl": {"deter": 4096, "hidden": 1024, "units": 1024, "layers": 5, "depth": 96},
    },
    "dreamer_current": {
        "v3_1m": {"deter": 512, "hidden": 64, "classes": 4, "units": 64, "depth": 4},
        "v3_12m": {"deter": 2048, "hidden": 256, "classes": 16, "units": 256, "depth": 16},
        "v3_25m": {"deter": 3072, "hidden": 384, "classes": 24, "units": 384, "depth": 24},
        "v3_50m": {"deter": 4096, "hidden": 512, "classes": 32, "units": 512, "depth": 32},
        "v3_100m": {"deter": 6144, "hidden": 768, "classes": 48, "units": 768, "depth": 48},
        "v3_200m": {"deter": 8192, "hidden": 1024, "classes": 64, "units": 1024, "depth": 64},
        "v3_400m": {"deter": 12288, "hidden": 1536, "classes": 96, "units": 1536, "depth": 96},
    },
}


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in PUBLISHED_SIZES.items() for size in sizes])
def test_published_sizes(name: str, size: str) -> None:
    prepared, wanted = recipe(name, f"size={size}"), PUBLISHED_SIZES[name][size]
    dynamics: Any = prepared.choices["dynamics"].config
    assert {key: getattr(dynamics, key) for key in ("deter", "hidden")} == {k: wanted[k] for k in ("deter", "hidden")}
    if name != "dreamer_v1":
        assert (dynamics.groups, dynamics.classes) == (32, wanted.get("classes", 32))
    for slot in ("encoder", "decoder", "actor", "heads/reward", "heads/continue", "heads/value"):
        config: Any = prepared.choices[slot].config
        assert config.units == wanted["units"], slot
        assert config.layers == wanted.get("layers", config.layers), slot
        if slot in ("encoder", "decoder"):
            assert config.depth == wanted["depth"]
    if name == "dreamer_current":
        assert dynamics.deter % dynamics.blocks == 0
