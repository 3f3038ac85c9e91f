"""The recipes that come with Reverie."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.lock import write_lock
from reverie.recipes.prepare import prepare
from reverie.recipes.roots import Roots

ROOT = Path(__file__).parents[2] / "recipes"
FILES = sorted(ROOT.rglob("*.yaml"))
RECIPES = sorted(path.stem for path in ROOT.glob("*.yaml"))


@pytest.fixture(scope="module")
def builtin() -> Plugins:
    return load_plugins()


def test_they_are_found(builtin: Plugins) -> None:
    roots = Roots(tuple(builtin.recipe_roots()))
    assert {"dreamer", "dreamer_categorical", "dreamer_contrastive"} <= set(roots.recipes())
    assert {"cartpole", "cartpole_masked", "pendulum", "acrobot", "dmc/cartpole_swingup"} <= set(roots.options("env"))


def own_words(name: str, folder: Path) -> list[str]:
    """What a recipe leaves to its user: where recorded episodes lie, since none come with Reverie."""
    if name != "offline":
        return []
    recorded = folder / "recorded"
    recorded.mkdir()
    for number in range(2):
        obs, action = np.zeros((40, 3), np.float32), np.zeros((39, 1), np.float32)
        np.savez(recorded / f"{number}.npz", obs=obs, action=action, reward=np.zeros(39), terminated=True)
    return [f"data.folder={recorded}"]


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_right_and_its_lock_repeats_it(name: str, builtin: Plugins, tmp_path: Path) -> None:
    recipe = prepare(name, own_words(name, tmp_path), plugins=builtin)
    write_lock(recipe, tmp_path)
    again = prepare(tmp_path / "recipe.lock.yaml", plugins=builtin)
    assert again == recipe
    write_lock(again, tmp_path / "again")
    assert (tmp_path / "again/recipe.lock.yaml").read_text() == (tmp_path / "recipe.lock.yaml").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "env").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_environment_fits_dreamer(path: Path, builtin: Plugins) -> None:
    assert prepare("dreamer", [f"env={path.stem}"], plugins=builtin).choices["env"].kind == "env"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_file_opens_with_the_command_that_runs_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    command = re.fullmatch(r"# \S.*[.)]   (reverie train \S+( \S+)*)", first)
    assert command, first
    name = path.relative_to(ROOT).with_suffix("").as_posix()
    wanted = f"env={name[4:]}" if name.startswith("env/") else f"reverie train {name}"
    assert wanted in command[1]


@pytest.mark.parametrize("path", sorted((ROOT / "env").rglob("*.yaml")), ids=lambda path: path.stem)
def test_environment_files_hold_environment_keys_only(path: Path, builtin: Plugins) -> None:
    options = set(builtin.catalogue.get("env", "gym").load_config().model_fields)
    assert set(OmegaConf.load(path)) <= options | {"name", "defaults"}


def test_the_wheel_carries_them_too(tmp_path: Path) -> None:
    """In a wheel the recipes lie inside the package; in a checkout beside it."""
    source = ROOT.parent / "plugins/reverie_plugins/recipes_builtin/__init__.py"
    placed = tmp_path / "site/reverie_plugins/recipes_builtin/__init__.py"
    placed.parent.mkdir(parents=True)
    placed.write_text(source.read_text())
    spec = spec_from_file_location("placed", placed)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.reverie_recipe_roots() == []
    inside = placed.parents[1] / "_recipes"
    inside.mkdir()
    assert module.reverie_recipe_roots() == [inside]


def test_mixes(builtin: Plugins) -> None:
    """The first journey: one line changes one part."""
    assert prepare("dreamer", ["planner=cem"], plugins=builtin).choices["planner"].name == "cem"
    assert prepare("dreamer_categorical", plugins=builtin).resolved["dynamics"]["latent"] == "categorical"
    contrastive = prepare("dreamer_contrastive", plugins=builtin)
    assert contrastive.choice("decoder") is None
    assert list(contrastive.group("objectives")) == ["contrastive"]
    assert contrastive.learner_config("model").objectives == ("contrastive",)
    assert "decoder" not in contrastive.learner_config("model").trains


def test_a_recipe_is_an_ordinary_primary_config(tmp_path: Path) -> None:
    """By an independent route: plain Hydra over a folder with a YAML file per component composes the same."""
    text = (ROOT / "dreamer.yaml").read_text()
    (tmp_path / "dreamer.yaml").write_text(text)
    for line in re.findall(r"^  - ([a-z_/]+): ([a-z_]+)", text, re.MULTILINE):
        file = tmp_path / line[0] / f"{line[1]}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        builtin_file = ROOT / line[0] / f"{line[1]}.yaml"
        file.write_text(builtin_file.read_text() if builtin_file.exists() else f"name: {line[1]}\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        plain = OmegaConf.to_container(compose("dreamer"))
    assert prepare("dreamer").resolved == plain
