"""The hooks: everything that a plugin can do. A hook may take fewer arguments than its spec has.

A plugin is a module behind an entry point in the group `reverie`. It imports no torch, and marks its functions with
`reverie.hookimpl`:

    from reverie import ComponentSpec, hookimpl

    @hookimpl
    def reverie_components() -> list[ComponentSpec]:
        return [
            ComponentSpec(
                kind="dynamics",
                name="my_dynamics",
                target="my_package.dynamics:MyDynamics",
                config="my_package.config:MyDynamicsConfig",
                summary="what it is, in one line",
            )
        ]
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reverie.errors import Problem
from reverie.extension.spec import ComponentSpec, hookspec

if TYPE_CHECKING:
    from reverie.recipes.recipe import Recipe


@hookspec
def reverie_components() -> Sequence[ComponentSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """List the plugin's components.

    Called once per process, when plugins are loaded. The components' classes are named, not imported: they are loaded
    when a recipe chooses them. A one-file plugin names its own classes with `f"{__name__}:MyClass"`.

    Returns:
        One `ComponentSpec` per component. One spec that is wrong (an illegal name, an unknown kind or capability, a
        malformed target) refuses the whole plugin, with the reason.
    """


@hookspec
def reverie_recipe_roots() -> Sequence[str | os.PathLike[str]]:  # type: ignore[empty-body]  # as above
    """List folders that hold recipes (`*.yaml`) and their groups (`env/*.yaml`, `study/*.yaml`).

    Called once per process, when plugins are loaded.

    Returns:
        Absolute paths of existing folders, such as `Path(__file__).parent / "recipes"`.
    """


@hookspec
def reverie_check_recipe(recipe: "Recipe") -> Sequence[Problem]:  # type: ignore[empty-body]  # as above
    """Find what the schema and the wiring check cannot know to be wrong with a recipe.

    Called for every recipe that is composed, whether it uses the plugin or not: look at `recipe.choices` first.

    Args:
        recipe: the composed and validated recipe; `recipe.choice("dynamics").config` holds a component's options.

    Returns:
        One `Problem` per thing that is wrong; an empty list if there is none.
    """


@hookspec
def reverie_callbacks(recipe: "Recipe") -> Sequence[Any]:  # type: ignore[empty-body]  # as above
    """Add Lightning callbacks to a run.

    Called once per run, before training begins. This hook may import torch.

    Args:
        recipe: the recipe that is about to be trained.

    Returns:
        Instances of `pytorch_lightning.Callback`; an empty list to add none.
    """


HOOKS: tuple[str, ...] = ("reverie_components", "reverie_recipe_roots", "reverie_check_recipe", "reverie_callbacks")
"""The names of all hooks, for messages and tests."""
