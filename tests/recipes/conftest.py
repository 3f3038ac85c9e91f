"""Recipes of toy components in a folder of their own; messages are compared whole."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from reverie.errors import RecipeError
from reverie.extension.manager import Plugins, load_plugins
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe

BASE = """\
# A toy recipe.   reverie train base
defaults:
  - env: easy
  - encoder: plain
  - dynamics: linear
  - decoder: auto
  - heads/reward: number
  - heads/value: number
  - actor: both
  - planner: policy
  - objectives/rebuild: rebuild
  - learners/model: fit
  - learners/behaviour: behave
  - _self_
size: xs
dynamics:
  mode: fancy
heads:
  reward: {layers: 3}
stages:
  - {name: prefill, collect: {policy: random}, until: {env_steps: 10}}
  - {name: train, collect: {policy: planner}, learners: [model, behaviour], ratio: 2, until: {env_steps: 20}}
"""


@pytest.fixture(scope="session")
def toys() -> Plugins:
    """The toy plugin alone: the built-in ones are not even imported."""
    blocked = sorted({f"reverie/{point.name}" for point in entry_points(group="reverie")})
    return load_plugins(blocked, [Path(__file__).with_name("toy_plugin.py")])


@pytest.fixture
def plugins(toys: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The toys with a recipe root `roots/`; the current folder is the one above it."""
    root = tmp_path / "roots"
    (root / "env").mkdir(parents=True)
    (root / "base.yaml").write_text(BASE)
    (root / "env" / "easy.yaml").write_text("# An easy one.   reverie train base env=easy\nname: toy\n")
    (root / "env" / "steered.yaml").write_text("defaults: [easy]\naction: continuous\n")
    (root / "env" / "seen.yaml").write_text("name: toy\nimage: true\n")
    monkeypatch.chdir(tmp_path)
    return replace(toys, roots=[(toys.records[-1], root)])


Make = Callable[..., Recipe]
Told = Callable[..., str]


@pytest.fixture
def write() -> Callable[[str, str], Path]:
    """Write a recipe into the current folder."""

    def write(name: str, text: str) -> Path:
        path = Path(f"{name}.yaml")
        path.write_text(text)
        return path

    return write


@pytest.fixture
def make(plugins: Plugins) -> Make:
    """`prepare` with the toys."""

    def make(recipe: str | Path, *overrides: str) -> Recipe:
        return prepare(recipe, overrides, plugins=plugins)

    return make


@pytest.fixture
def told(make: Make) -> Told:
    """The whole message with which a recipe is refused."""

    def told(recipe: str | Path, *overrides: str) -> str:
        with pytest.raises(RecipeError) as caught:
            make(recipe, *overrides)
        return str(caught.value)

    return told
