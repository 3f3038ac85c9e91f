"""Every planner over every world model: those that fit act, those that do not are refused with what is missing.

Planners and dynamics come from the catalogue, so that a new one joins by being installed (`planner_matrix.py`).
"""

import numpy as np
import pytest
import torch

from reverie.assembly.build import build_agent, build_environment
from reverie.extension.manager import load_plugins

from .planner_matrix import DOCUMENT, TASKS, Matrix, World, columns, written

MATRIX = Matrix(load_plugins())
WORLDS = pytest.mark.parametrize("world", MATRIX.worlds, ids=lambda world: world.name)


@pytest.mark.parametrize("task", TASKS)
@WORLDS
@pytest.mark.parametrize("planner", MATRIX.planners)
def test_a_pair_acts_or_is_refused_with_what_is_missing(planner: str, world: World, task: str) -> None:
    provides = MATRIX.planner(planner).spec.provides
    refused = MATRIX.refusal(planner, world, task)
    if refused is not None:
        said = [problem.what for problem in refused.problems]
        # A capability that a slot lacks, or actions of a kind that the planner or the recipe's actor is not for.
        assert any(" needs " in what or " is for " in what for what in said), said
        assert all(problem.fix for problem in refused.problems)
        return
    assert task in provides
    recipe = MATRIX.recipe(planner, world, task)
    factory = build_environment(recipe)
    torch.manual_seed(0)
    agent = build_agent(recipe, factory.observation, factory.action).eval()
    obs = {key: np.zeros((3, *spec.shape), np.float32) for key, spec in factory.observation.items()}
    state, first = agent.initial(3, [1, 2, 3]), np.ones(3, dtype=bool)
    for step in range(2):
        action, state = agent.act(obs, state, first, explore=step > 0)
        assert action.shape == (3, factory.action.size)
        assert np.isfinite(action).all()
        assert np.abs(action).max() <= 1
        first = np.array([False, True, False])


def test_the_matrix_has_two_sides() -> None:
    planners = {"actor", "random_shooting", "cem", "icem", "mppi", "guided", "gradient", "exhaustive"}
    assert planners <= set(MATRIX.planners)
    assert MATRIX.fits("exhaustive", MATRIX.worlds[0]) == ["discrete"]
    assert MATRIX.fits("gradient", MATRIX.worlds[0]) == ["continuous"]


def test_the_table_in_the_docs_is_the_matrix() -> None:
    """What fits is compared exactly; a pair in bold must have a committed line of a seed that solved its task."""
    table = written(DOCUMENT.read_text(encoding="utf-8"))
    shown, made = table.splitlines(), MATRIX.table(columns(table)).splitlines()
    again = "run `python tests/integration/planner_matrix.py`"
    assert [line.replace("**", "") for line in shown] == [line.replace("**", "") for line in made], again
    for line, true in zip(shown, made, strict=True):
        claimed = [cell for cell in line.split(" | ") if "**" in cell]
        assert all(cell in true.split(" | ") for cell in claimed), again


@pytest.mark.slow
def test_the_table_in_the_docs_leaves_out_no_world_model_and_nothing_that_was_learned() -> None:
    table = written(DOCUMENT.read_text(encoding="utf-8"))
    assert table == MATRIX.table(), "run `python tests/integration/planner_matrix.py`"
