import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.assembly.agent import Agent
from reverie.assembly.build import NobodyActs, build_agent, build_environment, build_external, build_learners
from reverie.assembly.constructors import TAKES
from reverie.assembly.load import load_agent
from reverie.assembly.weights import transplant
from reverie.contracts import Actor, Decoder, Dynamics, Encoder, Head, Learner, Objective, SearchPlanner
from reverie.errors import PluginError, RecipeError, RunError
from reverie.extension.manager import Plugins, load_plugins
from reverie.extension.spec import KINDS
from reverie.recipes.lock import write_lock
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Choice, Recipe
from reverie.testing.toys import ToyEncoder, toy_batch
from reverie.training.checkpoint import CheckpointWriter

TINY = [
    "dynamics.latent=categorical",
    "dynamics.deter=6",
    "dynamics.hidden=6",
    "dynamics.groups=2",
    "dynamics.classes=3",
    "encoder.units=5",
]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def recipe(plugins: Plugins) -> Recipe:
    return prepare("dreamer", TINY, plugins=plugins)


def build(recipe: Recipe, seed: int = 0) -> Agent:
    factory = build_environment(recipe)
    torch.manual_seed(seed)
    return build_agent(recipe, factory.observation, factory.action)


def save(recipe: Recipe, agent: Agent, run: Path) -> Path:
    """A run folder with a lock and one checkpoint."""
    write_lock(recipe, run)
    state: dict[str, Any] = {f"agent.{name}": value for name, value in agent.state_dict().items()}
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    CheckpointWriter(run / "checkpoints", keep=2).write(state, {}, {}, {"ticks": 1})
    return run


def same(mine: Agent, theirs: Agent, slot: str) -> bool:
    pairs = zip(mine.module(slot).parameters(), theirs.module(slot).parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_sizes_flow_from_part_to_part(recipe: Recipe):
    agent = build(recipe)
    assert agent.encoder.embed_size == 5
    assert agent.dynamics.feature_size == 6 + 2 * 3
    assert set(agent.heads) == {"reward", "continue", "value"}
    assert set(agent.objectives) == {"reconstruction"}
    assert agent.planner.proposal is agent.actor
    obs = {key: np.zeros((2, *spec.shape), np.float32) for key, spec in agent.observation.items()}
    action, _ = agent.act(obs, agent.initial(2), np.ones(2, bool))
    assert action.shape == (2, agent.action.size)


def test_the_callers_seed_decides_all_weights(recipe: Recipe):
    one, same_seed, other = build(recipe, 3), build(recipe, 3), build(recipe, 4)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same_seed.state_dict()[name])
    assert not same(one, other, "dynamics")


def test_learners_get_their_patterns_written_out(recipe: Recipe):
    agent = build(recipe)
    learners = build_learners(recipe, agent)
    assert set(learners) == {"model", "behaviour"}
    trains = learners["model"].config.trains
    assert set(trains) >= {"encoder", "dynamics", "decoder", "heads/reward", "heads/continue"}
    assert "heads/value" not in trains
    assert learners["model"].config.objectives == ("reconstruction",)


@pytest.mark.parametrize(
    ("overrides", "gone"),
    [
        (["heads.continue=null"], "heads/continue"),
        (["decoder=null", "objectives.reconstruction=null", "objectives.contrast=contrastive"], "decoder"),
    ],
)
def test_empty_slots_are_empty(plugins: Plugins, overrides: list[str], gone: str):
    recipe = prepare("dreamer", [*TINY, *overrides], plugins=plugins)
    agent = build(recipe)
    assert gone not in agent.slots()
    assert gone not in build_learners(recipe, agent)["model"].config.trains


def test_settings_become_preprocessing_and_exploration(plugins: Plugins):
    recipe = prepare(
        "dreamer",
        [*TINY, "observations.vectors=symlog", "exploration.epsilon=0.2", "dynamics.freeze=true"],
        plugins=plugins,
    )
    agent = build(recipe)
    assert agent.vectors == "symlog"
    assert agent.epsilon == 0.2
    assert agent.frozen_slots == {"dynamics"}
    assert all(not p.requires_grad for p in agent.dynamics.parameters())


def changed(recipe: Recipe, slot: str, component: Any) -> Recipe:
    """The same recipe with another class in a slot."""

    class Fake:
        name, plugin = "fake", recipe.choices["encoder"].component.plugin

        def load(self) -> Any:
            return component

    choice: Any = replace(recipe.choices[slot], component=Fake())
    return replace(recipe, choices={**recipe.choices, slot: choice})


def test_a_constructor_that_raises_is_named(recipe: Recipe):
    class Broken(ToyEncoder):
        def __init__(self, config: Any, observation: Any) -> None:
            raise ZeroDivisionError("units over nothing")

    with pytest.raises(
        PluginError, match=r"^encoder: the component 'fake'.*ZeroDivisionError: units over nothing"
    ) as info:
        build(changed(recipe, "encoder", Broken))
    assert isinstance(info.value.__cause__, ZeroDivisionError)


def test_a_constructor_with_other_arguments_is_told_with_its_place_and_what_its_kind_takes(recipe: Recipe):
    class Greedy(ToyEncoder):
        def __init__(self, config: Any, observation: Any, action: Any) -> None:
            super().__init__(config, observation)

    with pytest.raises(PluginError) as caught:
        build(changed(recipe, "encoder", Greedy))
    text, line = str(caught.value), Greedy.__init__.__code__.co_firstlineno
    assert text.startswith(f"{__file__}:{line}: encoder: the component 'fake'")
    assert "its constructor takes (config, observation, action), and a component of kind 'encoder' is given" in text
    assert "why: missing a required argument: 'action'" in text
    assert "fix: write `def __init__(self, config, observation)`" in text


def test_what_constructors_are_given_is_what_the_contracts_say():
    bases = {"encoder": Encoder, "dynamics": Dynamics, "decoder": Decoder, "head": Head, "actor": Actor}
    bases |= {"objective": Objective, "planner": SearchPlanner, "learner": Learner}
    for kind, base in bases.items():
        assert tuple(inspect.signature(base.__init__).parameters)[1:] == TAKES[kind]
    assert set(TAKES) == set(KINDS)


def test_components_of_the_wrong_kind_or_without_sizes_are_refused(recipe: Recipe):
    class Sizeless(ToyEncoder):
        def __init__(self, config: Any, observation: Any) -> None:
            super().__init__(config, observation)
            self.embed_size = 0

    with pytest.raises(PluginError, match="`embed_size` to a positive int, and it is 0"):
        build(changed(recipe, "encoder", Sizeless))
    with pytest.raises(PluginError, match="which is no Dynamics"):
        build(changed(recipe, "dynamics", lambda config, embed, action: object()))


def without(recipe: Recipe, *slots: str) -> Recipe:
    kept: dict[str, Choice] = {slot: choice for slot, choice in recipe.choices.items() if slot not in slots}
    return replace(recipe, choices=kept)


def test_a_recipe_without_actor_and_planner_can_train_but_not_act(recipe: Recipe):
    agent = build(without(recipe, "actor", "planner", "learners/behaviour"))
    assert agent.actor is None
    assert isinstance(agent.planner, NobodyActs)
    batch = toy_batch(2, 3, agent.observation, agent.action)
    with pytest.raises(RecipeError, match="neither a planner nor an actor"):
        agent.act({key: value[:, 0] for key, value in batch.obs.items()}, agent.initial(2), batch.is_first[:, 0])


def test_without_a_planner_the_actor_plans(recipe: Recipe):
    agent = build(without(recipe, "planner"))
    assert agent.planner is agent.actor


def test_empty_slots_that_are_needed_are_named(recipe: Recipe):
    with pytest.raises(RecipeError, match="'dynamics' is empty"):
        build(without(recipe, "dynamics"))
    with pytest.raises(RecipeError, match="'external' is empty"):
        build_external(recipe, build(recipe).observation, build(recipe).action)


def test_a_run_is_loaded_as_it_was(recipe: Recipe, plugins: Plugins, tmp_path: Path):
    agent = build(recipe, 5)
    agent.update_statistics({key: torch.randn(9, *spec.shape) + 3 for key, spec in agent.observation.items()})
    loaded, again = load_agent(save(recipe, agent, tmp_path / "run"), plugins=plugins)
    assert again.choices.keys() == recipe.choices.keys()
    mine, theirs = agent.state_dict(), loaded.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_run_is_loaded_with_another_planner(recipe: Recipe, plugins: Plugins, tmp_path: Path):
    agent = build(recipe, 5)
    run = save(recipe, agent, tmp_path / "run")
    loaded, _recipe = load_agent(run, plugins=plugins, overrides=["planner=random_shooting", "planner.candidates=4"])
    assert type(loaded.planner).__name__ == "RandomShooting"
    assert same(agent, loaded, "dynamics")


def test_what_is_no_run_is_refused(tmp_path: Path, plugins: Plugins):
    with pytest.raises(RunError, match="not a run folder"):
        load_agent(tmp_path, plugins=plugins)


def test_slots_are_taken_from_runs(recipe: Recipe, plugins: Plugins, tmp_path: Path):
    source = build(recipe, 5)
    source.update_statistics({key: torch.randn(9, *spec.shape) + 3 for key, spec in source.observation.items()})
    run = save(recipe, source, tmp_path / "run")
    overrides = [f"dynamics.from_run={run}", f"encoder.from_run={run}", "encoder.freeze=true"]
    taken = prepare("dreamer", [*TINY, *overrides], plugins=plugins)
    agent = build(taken, 6)
    assert same(agent, source, "dynamics")
    assert same(agent, source, "encoder")
    assert not same(agent, source, "decoder")
    for name, value in source.normalizers.state_dict().items():
        assert torch.equal(agent.normalizers.state_dict()[name], value)
    assert agent.statistics_frozen
    assert agent.frozen_slots == {"encoder"}
    factory = build_environment(taken)
    assert not same(build_agent(taken, factory.observation, factory.action, transplants=False), source, "dynamics")


def test_weights_that_do_not_fit_are_refused(recipe: Recipe, plugins: Plugins, tmp_path: Path):
    run = save(recipe, build(recipe), tmp_path / "run")
    larger = build(prepare("dreamer", [*TINY, "dynamics.deter=7"], plugins=plugins))
    before = {name: value.clone() for name, value in larger.state_dict().items()}
    with pytest.raises(
        RunError, match=r"dynamics: 'cell.*' is \(18, 12\) in .* and \(21, 13\) here; the spaces or sizes"
    ):
        transplant(larger, "dynamics", run)
    deeper = build(prepare("dreamer", [*TINY, "heads.value.layers=3"], plugins=plugins))
    with pytest.raises(RunError, match=r"heads/value: the weights in .* are of another component"):
        transplant(deeper, "heads/value", run)
    assert all(torch.equal(value, before[name]) for name, value in larger.state_dict().items())
    without_value = {name: value for name, value in build(recipe).state_dict().items() if "value" not in name}
    tensors: dict[str, Tensor] = {f"agent.{name}": value for name, value in without_value.items()}
    CheckpointWriter(run / "checkpoints", keep=2).write(tensors, {}, {}, {"ticks": 2})
    with pytest.raises(RunError, match=r"heads/value: .* has no weights for it"):
        transplant(build(recipe), "heads/value", run)
