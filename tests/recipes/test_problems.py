"""Every mistake is told whole: what, where, why and the fix; all of a recipe at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reverie.errors import RecipeError
from reverie.recipes.prepare import prepare

Told = Callable[..., str]
Write = Callable[[str, str], Path]

KEYS = (
    "keys of a recipe: seed, run_dir, size, stages, budget, replay, environments, faults, observations, "
    "exploration, evaluation, checkpoints, trainer, logging, env, data, encoder, dynamics, decoder, actor, planner, "
    "external, decoders, heads, objectives, learners"
)


def test_unknown_option(told: Told) -> None:
    assert told("base", "dynamics.widht=3") == (
        "command line: dynamics (linear): unknown key 'widht' (did you mean 'width'?)\n"
        "    fix: keys: width, mode, loss, name, size, freeze, from_run"
    )


def test_unknown_option_in_a_file(told: Told, write: Write) -> None:
    assert told(write("r", "defaults: [base]\n\ndynamics:\n  loss: {scael: 2}\n")) == (
        "r.yaml:4: dynamics (linear): unknown key 'scael' (did you mean 'scale'?)\n    fix: keys: scale"
    )


def test_unknown_component(told: Told) -> None:
    assert told("base", "dynamics=linaer") == (
        "command line: dynamics: there is no dynamics called 'linaer'\n"
        "    fix: did you mean 'linear'?; dynamics components: 'linear', 'other'"
    )


def test_a_component_of_a_plugin_that_is_not_there(told: Told) -> None:
    """Looked up in the catalogue: known plugins come with what to do."""
    message = told("base", "dynamics=rssm")
    assert message.startswith("command line: dynamics: there is no dynamics called 'rssm'\n    fix: 'rssm' belongs to")
    assert "blocked: remove it from --no-plugin or REVERIE_DISABLE_PLUGINS" in message


def test_unknown_file_of_a_group(told: Told) -> None:
    assert told("base", "env=esy") == (
        "command line: env: there is no env called 'esy' (did you mean 'easy'?)\n"
        "    fix: files of env/: easy, seen, steered; env components: 'toy'"
    )


def test_a_bad_choice_that_is_overridden_is_no_problem(make: Callable[..., object], write: Write) -> None:
    path = write("r", "defaults:\n  - base\n  - dynamics: nowhere\n")
    make(path, "dynamics=linear")


def test_one_text_instead_of_a_list_of_overrides() -> None:
    with pytest.raises(RecipeError, match=r"write overrides=\['seed=3'\]"):
        prepare("base", "seed=3")


def test_unknown_recipe(told: Told) -> None:
    assert told("bsae") == (
        "there is no recipe 'bsae' (did you mean 'base'?)\n    fix: recipes: base; a path must end in .yaml"
    )
    assert told("no/such.yaml") == (
        "no/such.yaml: there is no such file\n    fix: give the name of a recipe or the path of a .yaml file"
    )


def test_unknown_keys_of_a_recipe(told: Told, write: Write) -> None:
    assert told(write("r", "defaults: [base]\nseeed: 1\nheads/reward: {layers: 1}\n"), "sede=2") == (
        f"command line: unknown key 'sede' (did you mean 'seed'?)\n    fix: {KEYS}\n"
        f"r.yaml:2: unknown key 'seeed' (did you mean 'seed'?)\n    fix: {KEYS}\n"
        "r.yaml:3: unknown key 'heads/reward' (did you mean 'heads'?)\n"
        "    fix: in the body of a file write `heads:` and below it, indented, `reward:`"
    )


def test_missing_decoder(told: Told) -> None:
    assert told("base", "decoder=null") == (
        "roots/base.yaml:11: objectives/rebuild (rebuild) needs decoder, which is empty\n"
        "    why: decoder is emptied at command line\n"
        "    fix: add `- decoder: auto` to the defaults list, or decoder=auto (choices: auto); "
        "or an objective that does without: tell_apart"
    )


def test_continuous_planner_on_discrete_actions(told: Told, make: Callable[..., object]) -> None:
    assert told("base", "planner=steering") == (
        "command line: planner (steering) is for continuous actions, and those of the environment (toy) are discrete\n"
        "    fix: use planner=labelled (choices: labelled, policy); or another environment"
    )
    make("base", "planner=steering", "env=steered")


def test_encoder_for_what_is_not_shown(told: Told, make: Callable[..., object]) -> None:
    assert told("base", "encoder=pixels") == (
        "command line: encoder (pixels) reads image entries, and the environment (toy) has none\n"
        "    why: its entries: 'state'\n"
        "    fix: use encoder=plain (choices: plain)"
    )
    make("base", "encoder=pixels", "env=seen")


def test_capability_that_is_not_provided(told: Told) -> None:
    assert told("base", "planner=climbing", "dynamics=other") == (
        "command line: planner (climbing) needs dynamics to provide 'differentiable', which other does not\n"
        "    fix: use dynamics=linear (choices: linear); or a planner that does without: labelled, policy, steering"
    )


def test_two_learners_of_one_stage_train_one_slot(told: Told, write: Write) -> None:
    text = """\
defaults:
  - base
  - learners/second: fit
stages:
  - {name: train, collect: {policy: planner}, learners: [model, second], until: {env_steps: 9}}
"""
    assert told(write("r", text)) == (
        "r.yaml:5: stage train: the learners 'model' and 'second' both train "
        "decoder, dynamics, encoder, heads/reward, objectives/rebuild\n"
        "    why: two optimizers on one parameter undo each other's steps\n"
        "    fix: take decoder, dynamics, encoder, heads/reward, objectives/rebuild out of learners.model.trains or "
        "learners.second.trains, or use two stages"
    )


def test_two_stages_may_train_one_slot(make: Callable[..., object], write: Write) -> None:
    text = """\
defaults:
  - base
  - learners/second: fit
stages:
  - {name: one, collect: {policy: planner}, learners: [model], until: {env_steps: 9}}
  - {rounds: 2, stages: [{name: two, collect: {policy: planner}, learners: [second, behaviour], until: {updates: 9}}]}
"""
    make(write("r", text))


STAGES = """\
defaults: [base]
stages:
  - {name: one, collcet: {policy: random}, until: {env_steps: 5}}
  - {name: two, collect: {policy: rndom}, until: {}}
  - name: three
    collect: {policy: random}
    ratio: 3
    until: {env_steps: many}
  - rounds: 2
    stages:
      - {name: four}
"""


def test_stages_that_the_schema_refuses(told: Told, write: Write) -> None:
    assert told(write("r", STAGES)) == (
        "r.yaml:3: stages.0: unknown key 'collcet' (did you mean 'collect'?)\n"
        "    fix: keys: name, collect, learners, freeze, ratio, updates, batch_size, length, until\n"
        "r.yaml:4: `stages.1.collect.policy` must be one of 'random', 'actor', 'planner' or 'none', not 'rndom' "
        "(did you mean 'random'?)\n"
        "    why: Who acts: `random` draws uniformly, `actor` and `planner` explore with the agent, "
        "`none` collects nothing.\n"
        "r.yaml:4: stages.1.until: say when the stage ends: "
        "env_steps, agent_steps, updates, episodes, minutes or generations\n"
        "    why: When the stage ends.\n"
        "r.yaml:8: `stages.2.until.env_steps` must be a whole number, not 'many'\n"
        "    why: Environment steps (frames) since this stage began.\n"
        "r.yaml:11: stages.3.stages.0: the key 'until' is missing\n"
        "    why: When the stage ends.\n"
        "    fix: write `until: ...`"
    )


def test_a_refused_stage_keeps_its_name_in_further_messages(told: Told, write: Write) -> None:
    stages = "stages:\n  - {name: train, colect: {}, learners: [modle], until: {updates: 1}}\n"
    message = told(write("r", f"defaults: [base, _self_]\n{stages}"))
    assert "stage train: there is no learner 'modle'" in message
    assert "unknown key 'colect'" in message


def test_stages_that_the_wiring_refuses(told: Told, write: Write) -> None:
    text = """\
defaults: [base]
learners:
  model: {trains: [encoder, heads/rewrad], objectives: [rebuilt]}
stages:
  - {name: one, collect: {policy: random}, until: {updates: 5}}
  - {name: one, collect: {policy: actor}, learners: [modle], freeze: [decodr], until: {env_steps: 5}}
  - {name: two, learners: [model, model], until: {env_steps: 5}}
"""
    assert told(write("r", text), "actor=null", "planner=steering", "env=steered") == (
        "r.yaml:3: learners/model: `trains` names 'heads/rewrad', which is empty "
        "(did you mean 'heads/reward' or 'heads/value'?)\n"
        "    fix: filled slots: encoder, dynamics, decoder, heads/reward, heads/value, objectives/rebuild\n"
        "r.yaml:3: learners/model: there is no objective 'rebuilt' (did you mean 'rebuild'?)\n"
        "    fix: objectives of this recipe: rebuild\n"
        "r.yaml:5: stage one would never end: nothing in it counts updates\n"
        "    fix: end it by one of: agent_steps, env_steps, episodes, minutes\n"
        "r.yaml:6: stage one: there is no learner 'modle' (did you mean 'model'?)\n"
        "    fix: learners of this recipe: model, behaviour\n"
        "r.yaml:6: stage one: there is no actor to collect with\n"
        "    fix: add `- actor: <component>` to the defaults list (choices: both), or collect with another policy\n"
        "r.yaml:6: stage one: `freeze` names 'decodr', which is empty (did you mean 'decoder' or 'encoder'?)\n"
        "    fix: filled slots: encoder, dynamics, decoder, heads/reward, heads/value, objectives/rebuild\n"
        "r.yaml:6: two stages are called 'one'\n"
        "    why: the first is at r.yaml:5\n"
        "    fix: rename one\n"
        "r.yaml:7: stage two: a learner is named twice\n"
        "r.yaml:7: stage two would never end: nothing in it counts env_steps\n"
        "    fix: end it by one of: minutes, updates"
    )


def test_a_stage_of_an_evolving_learner_ends_by_generations(make: Callable[..., object], write: Write) -> None:
    text = """\
defaults:
  - base
  - learners/behaviour: evolve
stages:
  - {name: one, learners: [behaviour], until: {generations: 5}}
"""
    make(write("r", text))


def test_wrong_types_and_values(told: Told, write: Write) -> None:
    text = (
        "defaults: [base]\ndynamics: {width: many, mode: fancyy, loss: 3}\nactor: {layers: [1]}\nreplay: {length: 0}\n"
    )
    assert told(write("r", text), "heads.value.layers=none", "env.image=maybe", "decoder.freeze=3") == (
        "command line: env (toy): `image` must be true or false, not 'maybe'\n"
        "    why: Show an image instead of a vector.\n"
        "command line: decoder: `freeze` must be true or false, not '3'\n"
        "command line: heads/value (number): `layers` must be a whole number, not 'none'\n"
        "    why: Hidden layers.\n"
        "r.yaml:2: dynamics (linear): `width` must be a whole number, not 'many'\n"
        "    why: Size of the state.\n"
        "r.yaml:2: dynamics (linear): `mode` must be 'plain' or 'fancy', not 'fancyy' (did you mean 'fancy'?)\n"
        "    why: Kind of state.\n"
        "r.yaml:2: dynamics (linear): `loss` must be a mapping of its keys, not 3\n"
        "    why: The loss.\n"
        "r.yaml:3: actor (both): `layers` must be a whole number, not [1]\n"
        "    why: Hidden layers.\n"
        "r.yaml:4: `replay.length` must be greater than 0, not 0\n"
        "    why: Steps per chunk, T. `{vectors: 64, images: 32}` lets it depend on what is observed.\n"
        "    fix: write a larger number; the default is 64"
    )


def test_numbers_by_kind_of_observation(told: Told, write: Write) -> None:
    """What is wrong in a mapping is said of its key, and not also of the mapping."""
    text = "defaults: [base]\nreplay: {length: {vectors: 0, images: 3}, batch_size: {vectors: 2}}\n"
    assert told(write("r", text)) == (
        "r.yaml:2: replay.batch_size: the key 'images' is missing\n"
        "    why: Where at least one entry is an image.\n"
        "    fix: write `images: ...`\n"
        "r.yaml:2: `replay.length.vectors` must be greater than 0, not 0\n"
        "    why: Where every entry is a vector.\n"
        "    fix: write a larger number"
    )


def test_a_batch_that_is_too_large_for_one_kind_of_observation(told: Told, write: Write) -> None:
    text = "defaults: [base]\nreplay: {length: {vectors: 64, images: 1000000}, batch_size: 1000}\n"
    assert "a batch of 1000 x 1000000 rows is more than 16777216" in told(write("r", text))
    text = text.replace("images: 1000000", "images: 64").replace("vectors: 64", "vectors: 1000000")
    assert "a batch of 1000 x 1000000 rows is more than 16777216" in told(write("r", text))


def test_a_batch_of_a_stage_that_is_too_large(told: Told, write: Write) -> None:
    rest = "collect: {policy: none}, learners: [model], until: {updates: 1}"
    stage = f"{{name: s, {rest}, batch_size: 1000000, length: 99}}"
    text = f"defaults: [base]\nstages:\n  - {stage}\n"
    assert told(write("r", text)) == (
        "r.yaml:3: stage s: a batch of 99000000 rows is more than 16777216\n"
        "    fix: write fewer chunks (batch_size), or shorter ones (length)"
    )
    rounds = f"defaults: [base]\nstages:\n  - rounds: 2\n    stages:\n      - {stage}\n"
    assert told(write("r", rounds)).count("stage s: a batch of 99000000 rows") == 1


def test_a_list_where_a_mapping_stands_is_told_by_its_key(told: Told, write: Write) -> None:
    recipe = write("mapped", "defaults: [base]\nreplay: {length: {vectors: 4, images: 2}}\n")
    assert told(recipe, "replay.length=[3]") == (
        "command line: replay.length holds a mapping, and a list cannot take its place\n    fix: give a mapping"
    )
    assert told("base", "stages={a: 1}") == (
        "command line: stages holds a list, and a mapping cannot take its place\n    fix: give a list"
    )


def test_options_of_an_empty_slot(told: Told, write: Write) -> None:
    assert told(write("r", "defaults: [base]\nheads: {cost: {layers: 2}}\n")) == (
        "r.yaml:2: heads/cost: options for an empty slot\n"
        "    why: no component was chosen for it\n"
        "    fix: choose one with `- heads/cost: <component>` in the defaults list, or heads/cost=<component>"
    )


def test_size_that_nobody_has(told: Told, make: Callable[..., object]) -> None:
    assert told("base", "size=mm") == (
        "command line: no component of this recipe has a size 'mm' (did you mean 'm'?)\n    fix: sizes: m, xs"
    )
    assert told("base", "dynamics.size=huge") == (
        "command line: dynamics: there is no size 'huge'\n    fix: sizes of this component: xs, m"
    )
    make("base", "dynamics=other")  # nobody is left who has sizes: the recipe's own `size` is harmless
    assert told("base", "dynamics=other", "size=m") == "command line: no component of this recipe has a size 'm'"


def test_stages_or_an_external_learner(told: Told, make: Callable[..., object], write: Write) -> None:
    assert told("base", "external=outside") == (
        "command line: a recipe has either `stages` or an external learner, and this one has both\n"
        "    why: outside trains by its own procedure, so the stages would never run\n"
        "    fix: write `stages: []`, or remove the external learner with external=null"
    )
    make(write("outside", "defaults:\n  - env: easy\n  - external: outside\nbudget: {env_steps: 10}\n"))
    assert told(write("nothing", "defaults:\n  - env: easy\n  - dynamics: linear\n")) == (
        "nothing.yaml: nothing would be trained: this recipe has no stages and no external learner\n"
        "    fix: add `defaults:` with the recipe to start from (`reverie recipes list` shows them), "
        "and `stages:` for your own\n"
        "nothing.yaml: encoder: this slot is empty\n"
        "    why: every recipe with stages needs it\n"
        "    fix: add `- encoder: <component>` to the defaults list; components: pixels, plain"
    )


def test_defaults_lists(told: Told, write: Write) -> None:
    text = """\
defaults:
  - base
  - bsae
  - encodr: plain
  - override heads/rewrd: odds
  - heads/cost: odds
  - heads/cost: number
  - dynamics: {width: 3}
  - [base]
  - optional actor: both
  - heads@x: odds
  - _self_
  - _self_
"""
    slots = "slots: env, data, encoder, dynamics, decoder, actor, planner, external, decoders/<name>, heads/<name>"
    assert told(write("r", text)) == (
        "r.yaml:3: there is no recipe 'bsae' to extend (did you mean 'base'?)\n"
        "    fix: for a component write `slot: component`; recipes: base\n"
        "r.yaml:4: unknown slot 'encodr' (did you mean 'encoder' or 'decoder'?)\n"
        f"    fix: {slots}, objectives/<name>, learners/<name>\n"
        "r.yaml:5: heads/rewrd: there is nothing to override (did you mean 'heads/reward' or 'heads/value'?)\n"
        "    why: no recipe above this line chooses a component for that slot\n"
        "    fix: write `- heads/rewrd: odds` without `override`\n"
        "r.yaml:7: heads/cost: chosen twice in this list\n"
        "    why: first at r.yaml:6\n"
        "r.yaml:8: dynamics: \"{'width': 3}\" does not name a component\n"
        "    why: a defaults list chooses components; options belong in the body of the file\n"
        "    fix: write `- dynamics: <component>` here and its options below, under `dynamics:`\n"
        "r.yaml:9: a line of a defaults list is `- slot: component` or `- recipe`\n"
        "r.yaml:10: cannot read the key 'optional actor'\n"
        "    fix: write the path of a slot, such as `- heads/reward: two_hot`\n"
        "r.yaml:11: cannot read the key 'heads@x'\n"
        "    fix: write the path of a slot, such as `- heads/reward: two_hot`\n"
        "r.yaml:13: `_self_` stands twice in this list"
    )


def test_two_parents_that_choose_the_same(told: Told, write: Write) -> None:
    Path("roots/second.yaml").write_text("defaults:\n  - dynamics: other\n")
    assert told(write("r", "defaults:\n  - base\n  - second\n")) == (
        "r.yaml:3: dynamics: chosen by two of the recipes that this one extends\n"
        "    why: roots/base.yaml:5 and roots/second.yaml:2 both choose it\n"
        "    fix: extend one of them"
    )


def test_recipes_in_a_circle(told: Told, write: Write) -> None:
    Path("roots/one.yaml").write_text("defaults: [two]\n")
    Path("roots/two.yaml").write_text("defaults: [one, base]\n")
    assert told("one").splitlines()[0] == "roots/two.yaml:1: the recipe 'one' extends itself"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=1,2", "'seed=1,2' asks for several runs at once\n    why: a recipe describes one run\n"
         "    fix: use a study for sweeps; write a list as key=[a,b]"),
        ("seed=choice(1,2)", "'seed=choice(1,2)' asks for several runs at once\n    why: a recipe describes one run\n"
         "    fix: use a study for sweeps; write a list as key=[a,b]"),
        ("nonsense", "cannot read the override 'nonsense'\n"
         "    fix: write key=value; put values with special characters in quotes: 'key=\"a, b\"'"),
        ("heads=odds", "'heads' is a group of slots\n    fix: name the slot: heads/<name>=..."),
        ("dynamics=3", "'dynamics=3' does not name a component\n"
         "    fix: write dynamics=<component>, or dynamics=null"),
        ("dynamics@x=linear", "'@' is not used in overrides: 'dynamics@x=linear'\n    fix: write key=value"),
        ("stages.2.ratio=3", "`stages` has no entry '2'\n    fix: its entries: 0 to 1, or by name prefill, train"),
        ("stages.trian.ratio=3", "`stages` has no entry 'trian' (did you mean 'train'?)\n"
         "    fix: its entries: 0 to 1, or by name prefill, train"),
        ("stages.train=3", "`stages.1` must be a mapping of its keys, not 3\n    why: What happens, in order."),
        ("~seed", "there is no 'seed' to remove\n    why: no file of this recipe writes it"),
        ("~dynamics.width", "there is no 'dynamics.width' to remove\n    why: no file of this recipe writes it"),
        ("hydra.searchpath=[/tmp]", f"unknown key 'hydra'\n    fix: {KEYS}"),
    ],
)  # fmt: skip
def test_overrides_that_make_no_sense(told: Told, override: str, message: str) -> None:
    assert told("base", override) == f"command line: {message}"


def test_an_environment_that_cannot_be_made(told: Told) -> None:
    assert told("base", "env.broken=fault") == (
        "command line: env (toy): the simulator is not installed\n    fix: pip install simulator"
    )
    assert told("base", "env.broken=crash") == (
        "command line: env (toy): it cannot be made: KeyError: 'boom'\n    fix: see --debug for the whole story"
    )


def test_plugins_check_recipes_too(told: Told) -> None:
    assert told("base", "dynamics.width=13") == "here: dynamics: 13 is an unlucky width\n    fix: choose another"


def test_all_problems_at_once(told: Told, write: Write) -> None:
    """One of every kind: composition, schema, needs, spaces, learners, stages."""
    text = """\
defaults:
  - base
  - encoder: plian
  - decoder: null
  - planner: steering
  - learners/second: behave
dynamics: {widht: 3}
actor: {layers: many}
stages:
  - {name: train, collcet: {policy: planner}, until: {env_steps: 5}}
replay: {size: 3}
"""
    lines = [line for line in told(write("r", text), "sede=1").splitlines() if not line.startswith("    ")]
    assert lines == [
        "command line: unknown key 'sede' (did you mean 'seed'?)",
        "r.yaml:3: encoder: there is no encoder called 'plian'",
        "r.yaml:5: planner (steering) is for continuous actions, and those of the environment (toy) are discrete",
        "r.yaml:7: dynamics (linear): unknown key 'widht' (did you mean 'width'?)",
        "r.yaml:8: actor (both): `layers` must be a whole number, not 'many'",
        "r.yaml:10: stages.0: unknown key 'collcet' (did you mean 'collect'?)",
        "r.yaml:11: replay: unknown key 'size' (did you mean 'batch_size'?)",
        "roots/base.yaml:11: objectives/rebuild (rebuild) needs decoder, which is empty",
    ]
