"""Does a component's constructor take what its kind is given? Asked before it is called, to say where it stands."""

from __future__ import annotations

import inspect
from typing import Any

from reverie.errors import PluginError, Problem

TAKES = {
    "env": ("config",),
    "data": ("config",),
    "encoder": ("config", "observation"),
    "dynamics": ("config", "embed_size", "action"),
    "decoder": ("config", "code_size", "observation"),
    "head": ("config", "feature_size", "action"),
    "actor": ("config", "feature_size", "action"),
    "objective": ("config", "agent"),
    "planner": ("config", "action", "proposal"),
    "learner": ("config", "agent"),
    "external": ("config", "observation", "action"),
}
"""What the constructor of each kind is given, in this order (docs/contracts.md)."""


def check_constructor(cls: Any, kind: str, who: str) -> None:
    """Refuse a constructor that cannot be called by its kind's convention.

    Args:
        cls: the class, or a function that makes the component.
        kind: of the component.
        who: slot, component and origin, for the message.

    Raises:
        PluginError: with file and line of the constructor, what it takes and what its kind is given.
    """
    given = TAKES[kind]
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):  # built in C: calling it will tell
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        problem = Problem(
            f"{who}: its constructor takes {_written(signature)}, and a component of kind {kind!r} is given "
            f"({', '.join(given)})",
            _place(cls),
            why=str(error),
            fix=f"write `def __init__(self, {', '.join(given)})`",
        )
        raise PluginError(str(problem)) from None


def _written(signature: inspect.Signature) -> str:
    """The parameters without their types, which can be long."""
    bare = [value.replace(annotation=inspect.Parameter.empty) for value in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _place(cls: Any) -> str:
    """`file:line` of the constructor, as far as it is known."""
    function = cls.__init__ if inspect.isclass(cls) and inspect.isfunction(cls.__init__) else cls
    try:
        return f"{inspect.getsourcefile(function)}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return ""
