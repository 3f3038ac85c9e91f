"""The recipe, its sizes, and what the plugin refuses before training."""

import pytest
import torch

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
from reverie.errors import RecipeError
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

PLUGINS = load_plugins()
SMALL = ["dynamics={latent: 16, units: 16}", "heads.value.units=16", "actor.units=16"]


def refused(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        prepare("tdmpc2", overrides, plugins=PLUGINS)
    return str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["heads.continue=null"],
        ["decoder=auto", "objectives/reconstruction=reconstruction"],
        ["heads.value=two_hot", "heads.value.reads=before_action"],
        ["dynamics=rssm", "dynamics={deter: 16, hidden: 16}"],
    ],
    ids=["as shipped", "without ends", "with a decoder", "one value head", "on an RSSM"],
)
def test_the_probe_accepts_the_recipe_and_its_mixes(overrides: list[str]):
    small = [key for key in SMALL if key.split("=")[0].split(".units")[0] not in "".join(overrides)]
    recipe = prepare("tdmpc2", [*small, *overrides], plugins=PLUGINS)
    torch.manual_seed(0)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    assert [str(problem) for problem in probe(recipe, agent, build_learners(recipe, agent))] == []


def test_the_published_sizes():
    """5M: encoder 256, latent 512, hidden 512, five Q heads; the planner's 512 candidates and 6 rounds."""
    recipe = prepare("tdmpc2_paper", plugins=PLUGINS)
    configs = {slot: choice.config for slot, choice in recipe.choices.items()}
    assert (configs["encoder"].units, configs["encoder"].layers) == (256, 1)
    assert (configs["dynamics"].latent, configs["dynamics"].units, configs["dynamics"].group) == (512, 512, 8)
    assert (configs["heads/value"].members, configs["heads/value"].units, configs["heads/value"].bins) == (5, 512, 101)
    assert (configs["heads/reward"].units, configs["heads/reward"].layers, configs["heads/reward"].bins) == (
        512,
        2,
        101,
    )
    planner = configs["planner"]
    assert (planner.candidates, planner.iterations, planner.elites, planner.proposals) == (512, 6, 64, 24)
    learner, prior = configs["learners/model"], configs["learners/prior"]
    assert (learner.lr, prior.lr, learner.slow_rate, learner.grad_clip) == (3e-4, 3e-4, 0.01, 20)
    assert (recipe.settings.replay.batch_size, recipe.settings.replay.length) == (256, 4)
    assert {configs[slot].activation for slot in ("encoder", "dynamics", "heads/value", "heads/reward")} == {"mish"}
    agent = build_agent(recipe, *_spaces())
    millions = sum(p.numel() for p in agent.parameters()) / 1e6
    assert 4 < millions < 6


def _spaces():
    from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec

    return ObservationSpec({"state": ArraySpec((24,), "float32")}), ActionSpec("continuous", 6)


def test_discrete_actions_are_refused_with_what_to_use():
    text = refused("env=cartpole")
    assert "actor (policy_prior) is for continuous actions" in text
    assert "planner (mppi) is for continuous actions" in text


def test_a_value_that_reads_states_is_refused():
    text = refused("heads.value=two_hot")
    assert "learners/model learns the value of an action, and heads/value (two_hot) reads 'after'" in text
    assert "fix: use heads.value=q_ensemble, or write heads.value.reads=before_action" in text


def test_two_discounts_are_refused():
    text = refused("learners.model.discount=0.9")
    assert "by 0.9" in text
    assert "fix: write planner.discount=0.9" in text
    prepare("tdmpc2", ["learners.model.discount=0.9", "planner.discount=0.9"], plugins=PLUGINS)


def test_the_discount_follows_the_length_of_an_episode():
    """1 - 5 / length within 0.95 and 0.995: 500 decisions, 0.99."""
    text = refused("learners.model.episode_length=500")
    assert "fix: write planner.discount=0.99" in text
    config = PLUGINS.catalogue.get("learner", "tdmpc2").load_config()
    lengths = {50: 0.95, 100: 0.95, 200: 0.975, 500: 0.99, 1000: 0.995, 10_000: 0.995}
    assert {n: config(episode_length=n).per_decision for n in lengths} == pytest.approx(lengths)


def test_chunks_of_one_step_are_refused():
    assert "write replay.length=4" in refused("replay.length=1")
    assert "write replay.length.vectors=4" in refused("replay.length={vectors: 1, images: 1}")
    text = refused("replay.length={vectors: 4, images: 1}")  # what will be seen is not known yet
    assert "write replay.length.images=4" in text
    assert "replay.length.vectors" not in text
    assert "command line: learners/model learns from transitions" in text
    assert "write stages.1.length=4" in refused("stages.train.length=1")
    prepare("tdmpc2", ["replay.length=1", "stages.train.length=4"], plugins=PLUGINS)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("dynamics.group=7", "does not divide 64"),
        ("heads.value.low=11", "`low` must lie below `high`"),
        ("actor.min_log_std=3", "`min_log_std` must lie below `max_log_std`"),
        ("dynamics.latnt=3", "latent"),
    ],
)
def test_impossible_options_are_refused(override: str, told: str):
    assert told in refused(override)
