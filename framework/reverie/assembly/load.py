"""A trained agent out of its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.assembly.agent import Agent
from reverie.assembly.build import build_agent, build_environment
from reverie.assembly.weights import copy_slot, copy_statistics
from reverie.errors import RunError

if TYPE_CHECKING:
    from reverie.extension.manager import Plugins
    from reverie.recipes.recipe import Recipe


def load_agent(
    run: Path, *, checkpoint: str | None = None, plugins: Plugins | None = None, overrides: Sequence[str] = ()
) -> tuple[Agent, Recipe]:
    """The agent of a run, with the weights of its newest valid checkpoint, and the recipe that it was built by.

    Args:
        run: the run folder. What lies in it is not trusted: the recipe is checked like any other, and weights are
            read without pickle.
        checkpoint: the name of a checkpoint; None takes the newest whole one.
        plugins: those to use; loaded if not given.
        overrides: changes to the recipe, such as `planner=cem`. Slots that the run did not train stay as built.

    Raises:
        RunError: if the folder holds no run or no usable checkpoint, or weights do not fit the recipe.
        RecipeError: if the recipe in the run cannot be used here.
    """
    from reverie.recipes.prepare import prepare
    from reverie.training.checkpoint import read_agent_tensors  # the training package builds on this one

    lock = run / "recipe.lock.yaml"
    if not lock.is_file():
        raise RunError(f"{run} is not a run folder: there is no {lock.name} in it")
    recipe = prepare(lock, overrides, plugins=plugins)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action, transplants=False)
    tensors = read_agent_tensors(run, checkpoint)
    copy_statistics(agent, tensors, str(run))
    for slot in agent.slots():
        if slot != "planner" or any(name.startswith("planner.") for name in tensors):
            copy_slot(agent, slot, tensors, str(run))
    return agent.eval(), recipe
