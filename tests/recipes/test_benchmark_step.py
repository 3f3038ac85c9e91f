"""`benchmarks/dreamer_step.py` times an architecture that a peer has too: the default may change, this may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import dreamer_ours
import dreamer_step

from reverie.assembly.build import build_agent, build_environment
from reverie.nn import Norm

TIMED = [name for name, subject in dreamer_step.SUBJECTS.items() if "deter" in subject]


@pytest.mark.parametrize("name", TIMED)
def test_what_is_timed_is_dreamer_v3_as_the_peer_has_it(name: str) -> None:
    """Layer norm behind every hidden layer, symlog of vectors, categorical states, all starts, no average."""
    recipe = dreamer_ours.recipe_of(dreamer_step.SUBJECTS[name])
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    for slot in ("encoder", "decoder", "dynamics", "actor", "heads/reward", "heads/continue", "heads/value"):
        kinds = [part.kind for part in agent.module(slot).modules() if isinstance(part, Norm)]
        assert kinds, slot
        assert set(kinds) == {"layer"}, slot
    assert "symlog" in recipe.settings.observations.vectors
    assert recipe.choices["dynamics"].config.latent == "categorical"
    assert recipe.choices["learners/behaviour"].config.starts is None
    assert recipe.choices["learners/model"].config.average is None
    assert recipe.choices["learners/model"].config.optimizer == "adam"
