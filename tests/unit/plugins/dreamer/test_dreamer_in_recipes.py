"""The learner in whole recipes: the probe, and what the plugin refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
from reverie.errors import RecipeError
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

PLUGINS = load_plugins()
TINY = [
    "dynamics={deter: 16, hidden: 16, groups: 2, classes: 4}",
    "learners.behaviour.horizon=3",
    "learners.behaviour.starts=8",
]


def problems(*overrides: str, reaches: tuple[str, ...] | None = None) -> str:
    recipe: Any = prepare("dreamer", [*TINY, *overrides], plugins=PLUGINS)
    torch.manual_seed(0)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    learners = build_learners(recipe, agent)
    if reaches is not None:
        behaviour = learners["behaviour"]
        behaviour.config = behaviour.config.model_copy(update={"reaches": reaches})
    return "\n".join(str(problem) for problem in probe(recipe, agent, learners))


@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
def test_the_probe_accepts_the_loss_on_replayed_states(env: str):
    options = ["learners.behaviour.replay_value=0.3", "learners.behaviour.replay_value_into_model=true"]
    assert problems(f"env={env}", *options, "learners.model.average=null") == ""


def test_the_probe_refuses_its_gradient_where_it_is_not_declared():
    options = ["learners.behaviour.replay_value=0.3", "learners.behaviour.replay_value_into_model=true"]
    options.append("learners.model.average=null")
    text = problems(*options, reaches=("dynamics", "heads/reward", "heads/continue"))
    assert "its gradient enters encoder, which it neither trains nor reaches" in text
    assert problems(*options[:1], reaches=("dynamics", "heads/reward", "heads/continue")) == ""


def refused(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        prepare("dreamer", overrides, plugins=PLUGINS)
    return str(caught.value)


@pytest.mark.parametrize("key", ["replay.length", "stages.1.length"])
def test_returns_of_replayed_steps_need_two_of_them(key: str):
    text = refused("learners.behaviour.replay_value=0.3", f"{key}=1")
    assert "a chunk of one step has no return" in text
    assert f"fix: write {key}=2 or more, or learners.behaviour.replay_value=0" in text
    prepare("dreamer", ["learners.behaviour.replay_value=0.3", f"{key}=2"], plugins=PLUGINS)
    prepare("dreamer", [f"{key}=1"], plugins=PLUGINS)


def test_a_discount_in_two_places_is_refused():
    text = refused("learners.model.continue_discount=0.99")
    assert "command line: learners/behaviour discounts by 0.997" in text
    assert "a target that contains 0.99 already" in text
    assert "fix: write learners.behaviour.discount=1, or learners.model.continue_discount=1" in text
    prepare("dreamer", ["learners.model.continue_discount=0.99", "learners.behaviour.discount=1"], plugins=PLUGINS)


def test_a_discount_in_the_target_of_a_head_that_is_not_there_is_refused():
    """The published V1 without its continue head: what its recipe's comment says must work, and discount something."""
    with pytest.raises(RecipeError) as caught:
        prepare("dreamer_v1", ["heads.continue=null"], plugins=PLUGINS)
    assert "learners/model folds a discount of 0.99 into the target of the continue head, and there is none" in str(
        caught.value
    )
    assert "fix: write learners.model.continue_discount=1, and the discount where returns are made" in str(caught.value)
    alone = ["heads.continue=null", "learners.model.continue_discount=1", "learners.behaviour.discount=0.99"]
    prepared = prepare("dreamer_v1", alone, plugins=PLUGINS)
    comment = (Path(__file__).parents[4] / "recipes" / "dreamer_v1.yaml").read_text()
    assert " ".join(alone) in comment
    assert prepared.learner_config("behaviour").discount == 0.99


def test_a_planner_does_not_discount_what_the_continue_head_discounts():
    folded = ["learners.model.continue_discount=0.99", "learners.behaviour.discount=1", "planner=cem"]
    text = refused(*folded, "planner.discount=0.9")
    assert (
        "planner (cem) discounts by 0.9, and the continue head that it weighs steps by is trained on a target" in text
    )
    assert "fix: write planner.discount=1, or learners.model.continue_discount=1" in text
    prepare("dreamer", [*folded, "planner.discount=1"], plugins=PLUGINS)
    prepare("dreamer", [*folded, "planner.discount=0.9", "planner.continues=false"], plugins=PLUGINS)
    prepare("dreamer", ["planner=cem", "planner.discount=0.9"], plugins=PLUGINS)


def test_a_discount_in_the_target_needs_the_probability():
    folded = ["learners.model.continue_discount=0.99", "learners.behaviour.discount=1"]
    text = refused(*folded, "learners.behaviour.continues=mode")
    assert "loses the 0.99 that its target contains" in text
    assert "fix: write learners.behaviour.continues=mean" in text
    prepare("dreamer", ["learners.behaviour.continues=mode"], plugins=PLUGINS)


def test_two_discounts_of_one_critic_are_refused():
    folded = ["learners.model.continue_discount=0.99", "learners.behaviour.discount=1"]
    text = refused(*folded, "learners.behaviour.replay_value=0.3")
    assert "discounts by 0.99 in imagination and by 1 on replayed states" in text
    assert "fix: write learners.behaviour.replay_discount=0.99" in text
    replayed = ["learners.behaviour.replay_value=0.3", "learners.behaviour.replay_discount=0.99"]
    prepare("dreamer", [*folded, *replayed], plugins=PLUGINS)
    assert "by 0.997 in imagination and by 0.99 on replayed" in refused(*replayed)
    prepare("dreamer", replayed[:1], plugins=PLUGINS)


def test_the_critic_cannot_train_a_model_whose_weights_are_averaged():
    """Its gradient would come after that learner's step."""
    into = ["learners.behaviour.replay_value=0.3", "learners.behaviour.replay_value_into_model=true"]
    text = refused(*into, "learners.model.average=0.1")
    assert "command line: the critic of learners/behaviour learns from replayed states with its gradient" in text
    assert "fix: write learners.model.average=null, or learners.behaviour.replay_value_into_model=false" in text
    prepare("dreamer", [*into, "learners.model.average=null"], plugins=PLUGINS)
    prepare("dreamer", [into[0], "learners.model.average=0.1"], plugins=PLUGINS)


def test_recipes_without_this_learner_are_left_alone():
    """Planning on a model whose continue head contains the discount is nobody's mistake here."""
    overrides = ["learners.behaviour=null", "planner=random_shooting", "actor=null", "heads.value=null"]
    stages = ["stages.train.learners=[model]", "learners.model.continue_discount=0.99"]
    prepare("dreamer", [*overrides, *stages], plugins=PLUGINS)
