"""Weights of single slots, taken over from runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from reverie.assembly.slots import state_prefix
from reverie.errors import RunError

if TYPE_CHECKING:
    from reverie.assembly.agent import Agent


def transplant(agent: Agent, slot: str, run: str | Path) -> None:
    """Copy one slot's weights from the newest valid checkpoint of a run.

    The encoder brings the statistics of its preprocessing along: its weights mean nothing without them.

    Raises:
        RunError: if the run has no valid checkpoint, if it has nothing in that slot, or if the tensors differ (other
            spaces or other sizes), naming the first that does.
    """
    from reverie.training.checkpoint import read_agent_tensors  # the training package builds on this one

    tensors = read_agent_tensors(Path(run))
    copy_slot(agent, slot, tensors, str(run))
    if slot == "encoder":
        copy_statistics(agent, tensors, str(run))


def copy_slot(agent: Agent, slot: str, saved: Mapping[str, Any], origin: str) -> None:
    """Copy one slot out of an agent's saved state dict, after checking names and shapes.

    Raises:
        RunError: naming the first tensor that is missing, unknown or of another shape.
    """
    _copy(agent.module(slot), saved, state_prefix(slot), slot, origin)


def copy_statistics(agent: Agent, saved: Mapping[str, Any], origin: str) -> None:
    """Copy the running statistics of observations.

    Raises:
        RunError: if they are of other observations.
    """
    _copy(agent.normalizers, saved, "normalizers.", "statistics of observations", origin)


def _copy(module: nn.Module, saved: Mapping[str, Any], prefix: str, what: str, origin: str) -> None:
    mine = module.state_dict()
    theirs = {name[len(prefix) :]: value for name, value in saved.items() if name.startswith(prefix)}
    if mine and not theirs:
        raise RunError(f"{what}: {origin} has no weights for it")
    odd = sorted(mine.keys() ^ theirs.keys())
    if odd:
        where = "lacks" if odd[0] in mine else "has the unknown"
        raise RunError(f"{what}: the weights in {origin} are of another component or space: it {where} '{odd[0]}'")
    for name, value in mine.items():
        given = theirs[name]
        if isinstance(value, Tensor) and (not isinstance(given, Tensor) or value.shape != given.shape):
            shape = tuple(given.shape) if isinstance(given, Tensor) else "no shape"
            raise RunError(
                f"{what}: '{name}' is {shape} in {origin} and {tuple(value.shape)} here; the spaces or sizes differ"
            )
    try:
        module.load_state_dict(theirs)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:  # state that is no tensor
        first = str(error).strip().partition("\n")[0][:200]
        raise RunError(f"{what}: the state in {origin} cannot be used: {type(error).__name__}: {first}") from error
