"""Locks, provenance, and slots taken from finished runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from reverie.extension.manager import Plugins
from reverie.recipes.lock import write_lock
from reverie.recipes.recipe import Recipe

Make = Callable[..., Recipe]
Told = Callable[..., str]
Write = Callable[[str, str], Path]
LOCK = Path("run/recipe.lock.yaml")
FROZEN = "heads/value is frozen and comes from no run: it stays as it begins, unless you give heads.value.from_run"


@pytest.fixture
def locked(make: Make) -> Recipe:
    recipe = make("base", "dynamics.width=5", "heads.value.freeze=true", "seed=7", "env=steered", "run_dir=run")
    write_lock(recipe, Path("run"))
    return recipe


def test_a_lock_gives_an_equal_recipe(locked: Recipe, make: Make) -> None:
    again = make(LOCK)
    assert again.choices == locked.choices
    # A repeat gets a folder of its own; everything else is the same.
    assert again.settings == locked.settings.model_copy(update={"run_dir": None})
    assert (again.name, again.notes) == ("base", [FROZEN])
    assert make("base") == make("base")
    assert make("base") != make("base", "dynamics.width=5")


def test_a_lock_of_a_lock_is_the_same(locked: Recipe, make: Make) -> None:
    write_lock(make(LOCK), Path("again"))
    assert Path("again/recipe.lock.yaml").read_text() == LOCK.read_text()


def test_a_lock_leaves_nothing_open(locked: Recipe) -> None:
    data = yaml.safe_load(LOCK.read_text())
    assert data["dynamics"] == {"name": "linear", "width": 5, "mode": "fancy", "loss": {"scale": 0.5}}
    assert data["heads"]["value"] == {"name": "number", "freeze": True, "layers": 1}
    assert data["env"] == {"name": "toy", "action": "continuous", "image": False, "limit": None, "broken": "no"}
    assert data["replay"]["batch_size"] == 16
    assert data["lock"]["schema"] == 1
    assert "defaults" not in data


@pytest.mark.parametrize("text", ["12e4", "1e-3", "007", "0x1F", "null", "yes", "2024-01-01", "1:30", "ä b: #c", ""])
def test_text_stays_text(make: Make, text: str) -> None:
    """PyYAML alone writes `12e4` without quotes, and OmegaConf's loader would read a number."""
    recipe = make("base", f"planner.label='{text}'", "planner=labelled")
    write_lock(recipe, Path("run"))
    assert make(LOCK).choices["planner"].config.model_dump() == {"label": text}


def test_a_lock_is_overridden_like_a_recipe(locked: Recipe, make: Make) -> None:
    recipe = make(LOCK, "dynamics=other", "decoder=null", "objectives/rebuild=tell_apart", "env=seen")
    assert recipe.choices["dynamics"].config.model_dump() == {"depth": 1}
    assert recipe.choice("decoder") is None
    assert recipe.resolved["env"] == {"name": "toy", "image": True}
    line = next(number for number, text in enumerate(LOCK.read_text().splitlines(), 1) if text == "dynamics:")
    assert recipe.notes == [
        "env is now seen (command line); run/recipe.lock.yaml:"
        f"{_line('env:')} wrote options for toy, which are dropped: action, image, limit, broken",
        f"dynamics is now other (command line); run/recipe.lock.yaml:{line} wrote options for linear, "
        "which are dropped: width, mode, loss",
        "objectives/rebuild is now tell_apart (command line); run/recipe.lock.yaml:"
        f"{_line('  rebuild:')} wrote options for rebuild, which are dropped: decoder",
        FROZEN,
    ]


def _line(text: str) -> int:
    return LOCK.read_text().splitlines().index(text) + 1


def test_size_cannot_change_a_lock(locked: Recipe, told: Told) -> None:
    assert told(LOCK, "size=m") == (
        "command line: size=m changes nothing here\n"
        "    why: a lock file spells every option out, and presets yield to written options\n"
        "    fix: give the size to the recipe that the lock was made from"
    )


def test_provenance(locked: Recipe, plugins: Plugins) -> None:
    told = json.loads(Path("run/provenance.json").read_text())
    assert told["overrides"][:2] == ["dynamics.width=5", "heads.value.freeze=true"]
    assert told["components"]["dynamics"] == {
        "component": "linear",
        "plugin": "local.toy_plugin",
        "distribution": "local.toy_plugin",
        "version": "",
        "sha256": plugins.records[-1].sha256,
    }
    assert set(told["files"]) == {"roots/base.yaml", "roots/env/easy.yaml", "roots/env/steered.yaml"}
    assert {"torch", "reverie", "hydra-core"} <= set(told["packages"])
    assert told["python"].startswith("3.")


class TestLocalPlugins:
    def test_the_flag_is_needed_again(self, locked: Recipe, told: Told) -> None:
        text = LOCK.read_text()
        file = Path(__file__).with_name("toy_plugin.py")
        LOCK.write_text(text.replace("name: local.toy_plugin", "name: local.gone"))
        assert told(LOCK) == (
            "run/recipe.lock.yaml:2: this run used the one-file plugin 'local.gone', which is not loaded\n"
            f"    fix: add --plugin {file}"
        )

    def test_a_changed_file_is_noted(self, locked: Recipe, make: Make, plugins: Plugins) -> None:
        LOCK.write_text(LOCK.read_text().replace(str(plugins.records[-1].sha256), "a" * 64))
        changed = "the one-file plugin 'local.toy_plugin' has changed since this run was made"
        assert make(LOCK).notes == [changed, FROZEN]


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            "{schema: 99}",
            "this lock file has schema 99, and this version of Reverie reads up to 1\n"
            "    fix: use the version of Reverie that provenance.json names",
        ),
        (
            "{recipe: x}",
            "`lock` is kept for lock files, and this one does not say its `schema`\n"
            "    fix: remove `lock:`, or use a file that a run wrote",
        ),
        (
            "3",
            "`lock` is kept for lock files, and this one does not say its `schema`\n"
            "    fix: remove `lock:`, or use a file that a run wrote",
        ),
    ],
)
def test_locks_of_other_versions(told: Told, write: Write, lock: str, message: str) -> None:
    assert told(write("r", f"defaults: [base]\nlock: {lock}\n")) == f"r.yaml:2: {message}"


class TestFromRun:
    def test_component_and_options_come_from_the_run(self, locked: Recipe, make: Make, write: Write) -> None:
        path = write("r", "defaults: [base]\ndynamics: {from_run: run, freeze: true}\n")
        recipe = make(path)
        choice = recipe.choices["dynamics"]
        assert (choice.from_run, choice.freeze, choice.name) == ("run", True, "linear")
        assert choice.config == locked.choices["dynamics"].config
        # base wrote `mode` for its own choice, which is not the one in force any more.
        assert recipe.notes == [
            "dynamics is now the run run (r.yaml:2); "
            "roots/base.yaml:16 wrote options for linear, which are dropped: mode"
        ]

    def test_on_the_command_line(self, locked: Recipe, make: Make) -> None:
        recipe = make("base", "dynamics.from_run=run", "dynamics.freeze=true", "dynamics.mode=plain")
        assert recipe.choices["dynamics"].config.model_dump() == {"width": 5, "mode": "plain", "loss": {"scale": 0.5}}

    def test_another_component_of_the_run_wins_over_the_defaults_list(self, make: Make, write: Write) -> None:
        write_lock(make("base", "dynamics=other", "dynamics.depth=3"), Path("run"))
        recipe = make(write("r", "defaults: [base]\ndynamics: {from_run: run}\n"))
        assert recipe.choices["dynamics"].name == "other"
        assert recipe.choices["dynamics"].config.model_dump() == {"depth": 3}

    def test_what_is_frozen_stays_frozen_whatever_run_fills_it(self, locked: Recipe, make: Make, write: Write) -> None:
        path = write("r", "defaults: [base]\ndynamics: {mode: plain, freeze: true}\n")
        recipe = make(path, "dynamics.from_run=run")
        choice = recipe.choices["dynamics"]
        assert (choice.from_run, choice.freeze) == ("run", True)
        assert choice.config == locked.choices["dynamics"].config, "options are the run's"
        assert any(note.endswith("r.yaml:2 wrote options for linear, which are dropped: mode") for note in recipe.notes)
        assert not make(path, "dynamics.from_run=run", "dynamics.freeze=false").choices["dynamics"].freeze

    def test_another_choice_drops_it(self, locked: Recipe, make: Make, write: Write) -> None:
        path = write("r", "defaults: [base]\ndynamics: {from_run: run, freeze: true}\n")
        choice = make(path, "dynamics=linear").choices["dynamics"]
        assert (choice.from_run, choice.freeze) == (None, False)

    def test_the_lock_of_such_a_run_stands_alone(self, locked: Recipe, make: Make) -> None:
        recipe = make("base", "dynamics.from_run=run")
        write_lock(recipe, Path("second"))
        LOCK.unlink()
        again = make("second/recipe.lock.yaml")
        assert again.choices["dynamics"] == recipe.choices["dynamics"]
        assert again.choices["dynamics"].from_run == "run"

    def test_no_such_run(self, told: Told) -> None:
        assert told("base", "dynamics.from_run=runs/gone") == (
            "command line: dynamics: 'runs/gone' is not a run folder\n"
            "    why: there is no recipe.lock.yaml in it\n"
            "    fix: give the folder of a run, as `reverie train` prints it"
        )

    def test_a_run_without_that_slot(self, locked: Recipe, told: Told, write: Write) -> None:
        message = told(write("r", "defaults: [base]\nheads: {cost: {from_run: run}}\n"))
        assert message.startswith("r.yaml:2: heads/cost: the run 'run' has nothing there\n    fix: its slots: env, ")

    def test_a_run_with_a_broken_lock(self, locked: Recipe, told: Told) -> None:
        LOCK.write_text("dynamics: {name: linear, width: '${oc.env:HOME}'}\n")
        assert told("base", "dynamics.from_run=run") == (
            "command line: dynamics: the lock file of 'run' cannot be used\n"
            "    why: the interpolation '${oc.env:HOME}' is refused"
        )
