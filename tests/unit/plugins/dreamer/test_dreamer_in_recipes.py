"""The learner in whole recipes: the probe, and what the plugin refuses."""

from typing import Any

import pytest
import torch

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
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
    assert problems(f"env={env}", *options) == ""


def test_the_probe_refuses_its_gradient_where_it_is_not_declared():
    options = ["learners.behaviour.replay_value=0.3", "learners.behaviour.replay_value_into_model=true"]
    text = problems(*options, reaches=("dynamics", "heads/reward", "heads/continue"))
    assert "its gradient enters encoder, which it neither trains nor reaches" in text
    assert problems(*options[:1], reaches=("dynamics", "heads/reward", "heads/continue")) == ""
