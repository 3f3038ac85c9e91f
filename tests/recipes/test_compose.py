"""Hydra composes: what a recipe becomes, who wins, and what is dropped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reverie.errors import RecipeError
from reverie.recipes.recipe import Recipe

Make = Callable[..., Recipe]
Write = Callable[[str, str], Path]


def width(recipe: Recipe) -> int:
    return recipe.choices["dynamics"].config.width  # type: ignore[attr-defined]


def test_slots_hold_components_with_defaults_of_their_config_classes(make: Make) -> None:
    recipe = make("base")
    assert recipe.name == "base"
    assert {slot: choice.name for slot, choice in recipe.choices.items()} == {
        "env": "toy",
        "encoder": "plain",
        "dynamics": "linear",
        "decoder": "auto",
        "heads/reward": "number",
        "heads/value": "number",
        "objectives/rebuild": "rebuild",
        "actor": "both",
        "planner": "policy",
        "learners/model": "fit",
        "learners/behaviour": "behave",
    }
    assert recipe.choices["heads/reward"].kind == "head"
    assert list(recipe.group("heads")) == ["reward", "value"]
    assert recipe.choice("external") is None
    assert recipe.notes == []


def test_preset_lies_between_defaults_and_keys(make: Make, write: Write) -> None:
    config = make("base").choices["dynamics"].config
    assert config.model_dump() == {"width": 4, "mode": "fancy", "loss": {"scale": 0.5}}
    assert width(make("base", "size=m")) == 16
    assert width(make("base", "dynamics.size=m")) == 16
    assert width(make("base", "size=null")) == 8
    assert width(make("base", "dynamics.width=5")) == 5
    # The recipe's own `mode` beats the preset's, and a slot's own size beats the recipe's.
    own = write("own", "defaults: [base]\ndynamics: {mode: plain, size: m}\n")
    assert make(own).choices["dynamics"].config.model_dump() == {"width": 16, "mode": "plain", "loss": {"scale": 1.0}}


def test_resolved_holds_what_was_written_and_no_default(make: Make) -> None:
    resolved = make("base", "dynamics.loss.scale=2").resolved
    assert resolved["dynamics"] == {"name": "linear", "mode": "fancy", "loss": {"scale": 2}}
    assert resolved["heads"] == {"reward": {"name": "number", "layers": 3}, "value": {"name": "number"}}
    assert "replay" not in resolved


@pytest.mark.parametrize("override", ["heads/reward=odds", "heads.reward=odds", "heads.reward.name=odds"])
def test_every_spelling_of_a_choice(make: Make, override: str) -> None:
    recipe = make("base", override)
    assert recipe.choices["heads/reward"].name == "odds"
    assert recipe.notes == [
        "heads/reward is now odds (command line); "
        "roots/base.yaml:19 wrote options for number, which are dropped: layers"
    ]


@pytest.mark.parametrize("override", ["objectives/rebuild=null", "objectives.rebuild=null", "~objectives/rebuild"])
def test_null_empties_a_slot(make: Make, override: str) -> None:
    recipe = make("base", override, "decoder=null")
    assert recipe.choice("objectives/rebuild") is None
    assert recipe.choice("decoder") is None
    assert "objectives" not in recipe.resolved


def test_a_mapping_on_the_command_line_is_a_choice_with_options(make: Make) -> None:
    recipe = make("base", "dynamics={name: other, depth: 4}", "heads={extra: {name: odds, layers: 2}}")
    assert recipe.resolved["dynamics"] == {"name": "other", "depth": 4}
    assert recipe.resolved["heads"]["extra"] == {"name": "odds", "layers": 2}


def test_command_line_keys_are_never_dropped(make: Make) -> None:
    recipe = make("base", "heads.reward.layers=7", "heads.reward=odds")
    assert recipe.resolved["heads"]["reward"] == {"name": "odds", "layers": 7}


def test_the_same_choice_again_drops_nothing(make: Make) -> None:
    recipe = make("base", "heads/reward=number")
    assert recipe.resolved["heads"]["reward"]["layers"] == 3
    assert recipe.notes == []


def test_values_keep_their_types(make: Make) -> None:
    recipe = make("base", "budget.minutes=1e-3", "run_dir='a b, c'", "stages.1.learners=[model]", "seed=3")
    assert recipe.settings.budget.minutes == 1e-3
    assert recipe.settings.run_dir == "a b, c"
    assert recipe.settings.stages[1].learners == ("model",)  # type: ignore[union-attr]
    assert recipe.settings.seed == 3


@pytest.mark.parametrize("key", ["stages.1.ratio", "stages.train.ratio"])
def test_a_stage_is_named_by_number_or_name(make: Make, key: str) -> None:
    recipe = make("base", f"{key}=32")
    assert [getattr(stage, "ratio", None) for stage in recipe.settings.stages] == [None, 32]
    assert recipe.places["stages"] == "roots/base.yaml:20"


def test_keys_can_be_removed(make: Make) -> None:
    recipe = make("base", "~dynamics.mode", "~stages.train.ratio", "~size")
    assert recipe.choices["dynamics"].config.model_dump() == {"width": 8, "mode": "plain", "loss": {"scale": 1.0}}
    assert recipe.settings.stages[1].ratio is None  # type: ignore[union-attr]


def test_keys_may_lead_into_what_the_command_line_wrote(make: Make) -> None:
    stage = "{name: only,collect: {policy: random},until: {env_steps: 5}}"
    recipe = make("base", f"stages=[{stage}]", "stages.only.until.env_steps=9")
    assert [entry.until.env_steps for _, entry in recipe.settings.flat_stages()] == [9]


def test_yaml_is_read_as_omegaconf_reads_it(make: Make, write: Write) -> None:
    recipe = make(write("floats", "defaults: [base]\nbudget: {minutes: 1e-3}\nrun_dir: 2024-01-01\n"))
    assert recipe.settings.budget.minutes == 1e-3
    assert recipe.settings.run_dir == "2024-01-01"


class TestExtending:
    def test_override_lines_and_plain_choices_mean_the_same(self, make: Make, write: Write) -> None:
        one = write("one", "defaults:\n  - base\n  - override dynamics: other\n  - heads/cost: odds\n  - _self_\n")
        two = write("two", "defaults:\n  - base\n  - heads/cost: odds\n  - dynamics: other\n")
        first, second = make(one), make(two)
        assert first.choices == second.choices
        assert first.choices["dynamics"].name == "other"
        assert first.notes == [
            "dynamics is now other (one.yaml:3); roots/base.yaml:16 wrote options for linear, which are dropped: mode",
            "heads/cost is trained by no learner, and stays as it begins",
        ]

    def test_additions_may_stand_behind_override_lines(self, make: Make, write: Write) -> None:
        """Hydra itself refuses that order."""
        late = write("late", "defaults:\n  - base\n  - override decoder: null\n  - objectives/rebuild: tell_apart\n")
        assert make(late).choice("decoder") is None

    def test_own_keys_beat_the_parents(self, make: Make, write: Write) -> None:
        child = write("child", "defaults: [base]\ndynamics: {width: 9}\nseed: 4\n")
        recipe = make(child)
        assert recipe.choices["dynamics"].config.model_dump() == {"width": 9, "mode": "fancy", "loss": {"scale": 0.5}}
        assert recipe.settings.seed == 4
        assert recipe.name == "child"

    def test_self_first_lets_the_parent_win(self, make: Make, write: Write) -> None:
        child = write("child", "defaults: [_self_, base]\ndynamics: {mode: plain, width: 9}\n")
        assert make(child).resolved["dynamics"] == {"name": "linear", "mode": "fancy", "width": 9}

    def test_three_files_each_dropping_for_itself(self, make: Make, write: Write) -> None:
        (Path("roots") / "middle.yaml").write_text("defaults:\n  - base\n  - dynamics: other\ndynamics: {depth: 5}\n")
        top = write("top", "defaults:\n  - middle\n  - dynamics: linear\ndynamics: {width: 3}\n")
        recipe = make(top)
        # base wrote `mode` for linear, which is what holds in the end; middle wrote `depth` for other.
        assert recipe.resolved["dynamics"] == {"name": "linear", "mode": "fancy", "width": 3}
        assert recipe.notes == [
            "dynamics is now linear (top.yaml:3); roots/middle.yaml:4 wrote options for other, which are dropped: depth"
        ]

    def test_a_recipe_of_the_same_name_beside_a_builtin(self, make: Make, write: Write) -> None:
        own = write("base", "defaults: [base]\nseed: 9\n")
        assert make(own).settings.seed == 9
        assert make("base").settings.seed == 0

    def test_a_name_in_a_body_is_a_choice(self, make: Make, write: Write) -> None:
        body = write("body", "defaults: [base]\ndynamics: {name: other, depth: 2}\n")
        assert make(body).resolved["dynamics"] == {"name": "other", "depth": 2}
        recipe = make(body, "dynamics=linear")
        assert recipe.resolved["dynamics"] == {"name": "linear", "mode": "fancy"}
        assert recipe.notes == [
            "dynamics is now linear (command line); body.yaml:2 wrote options for other, which are dropped: depth"
        ]


class TestEnvironments:
    def test_a_file_of_the_group(self, make: Make) -> None:
        recipe = make("base", "env=steered")
        assert recipe.resolved["env"] == {"name": "toy", "action": "continuous"}
        assert recipe.places["env.action"] == "roots/env/steered.yaml:2"
        assert recipe.places["env.name"] == "roots/env/easy.yaml:2"

    def test_a_component_without_a_file(self, make: Make) -> None:
        assert make("base", "env=toy", "env.limit=3").resolved["env"] == {"name": "toy", "limit": 3}

    def test_files_may_lie_deeper(self, make: Make) -> None:
        folder = Path("roots/env/far")
        folder.mkdir()
        (folder / "away.yaml").write_text("name: toy\nlimit: 5\n")
        assert make("base", "env=far/away").resolved["env"] == {"name": "toy", "limit": 5}

    def test_keys_written_for_another_environment_are_dropped(self, make: Make, write: Write) -> None:
        child = write("child", "defaults: [base]\nenv: {limit: 7}\n")
        assert make(child).resolved["env"] == {"name": "toy", "limit": 7}
        recipe = make(child, "env=steered")
        assert recipe.resolved["env"] == {"name": "toy", "action": "continuous"}
        assert recipe.notes == [
            "env is now steered (command line); child.yaml:2 wrote options for easy, which are dropped: limit"
        ]


def test_notes_speak_of_what_was_probably_not_meant(make: Make) -> None:
    notes = make("base", "heads/extra=odds", "stages.train.learners=[model]").notes
    assert notes[0].startswith("heads/extra=odds adds a slot that the recipe does not have")
    assert notes[1:] == [
        "learners/behaviour learns in no stage",
        "heads/extra is trained by no learner, and stays as it begins",
    ]
    described = make("base", "objectives/second=tell_apart", "learners.model.objectives=[rebuild]")
    assert described.notes[-1] == "objectives/second is run by no learner"


def test_a_new_slot_that_nothing_uses_and_whose_name_is_nearly_another_is_refused(make: Make) -> None:
    with pytest.raises(RecipeError) as caught:
        make("base", "heads/rewrd=odds")
    text = str(caught.value)
    assert "command line: heads/rewrd=odds adds a slot that nothing uses (did you mean 'heads/reward'?)" in text
    assert "fix: write heads/reward=odds; if the new slot is meant, name it in `trains` of a learner" in text


def test_places_say_where_every_value_comes_from(make: Make, write: Write) -> None:
    child = write("child", "defaults:\n  - base\n  - actor: both\nactor: {layers: 2}\nseed: 1\n")
    places = make(child, "dynamics.width=3", "encoder=pixels", "env=seen").places
    assert places["env.name"] == "roots/env/seen.yaml:1"
    assert places["env.image"] == "roots/env/seen.yaml:2"
    assert places["encoder.name"] == "command line"
    assert places["dynamics.name"] == "roots/base.yaml:5"
    assert places["dynamics.width"] == "command line"
    assert places["dynamics.mode"] == "roots/base.yaml:17"
    assert places["actor.name"] == "child.yaml:3"
    assert places["actor.layers"] == "child.yaml:4"
    assert places["seed"] == "child.yaml:5"
