"""Weights of single slots, taken over from finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

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
    if slot == "encoder" and len(agent.normalizers):
        _copy(dict(agent.named_buffers()), tensors, "normalizers.", slot, str(run))


def copy_slot(agent: Agent, slot: str, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy one slot's tensors out of an agent's saved ones, after checking names and shapes."""
    _copy(agent.state_dict(keep_vars=True), tensors, state_prefix(slot), slot, origin)


def _copy(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], prefix: str, slot: str, origin: str) -> None:
    wanted = {name: value for name, value in mine.items() if name.startswith(prefix)}
    offered = {name: value for name, value in theirs.items() if name.startswith(prefix)}
    if wanted and not offered:
        raise RunError(f"{slot}: the run {origin} has nothing in this slot")
    missing, extra = sorted(wanted.keys() - offered.keys()), sorted(offered.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which this recipe has not"
        raise RunError(f"{slot}: the weights of {origin} are of another kind of component: it {what}")
    for name, value in wanted.items():
        if value.shape != offered[name].shape:
            raise RunError(
                f"{slot}: {name} has shape {tuple(offered[name].shape)} in {origin} and {tuple(value.shape)} here; "
                "the spaces or the sizes differ"
            )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(offered[name])
