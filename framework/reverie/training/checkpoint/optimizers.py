"""State of optimizers from files: believed only where it fits the parameters.

The fused kernels of torch take sizes and layout for granted. A tensor of a checkpoint that is smaller than its
parameter, or a view of a few numbers, would have them write into memory that belongs to others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from reverie.nn import LaProp, Muon
from reverie.nn.averaging import ITERATE

_SINGLE = {"step", "mu_product", "eta", "mu"}
"""Entries of torch's optimizers that are one number per parameter; all others have the parameter's shape."""


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """`optimizer.load_state_dict(state)`, checked.

    Raises:
        ValueError: for options of another kind than the optimizer's own, and for tensors that do not fit.
    """
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for mine, theirs in zip(before, optimizer.param_groups, strict=True):
        if mine.keys() != theirs.keys():
            raise ValueError(
                f"an optimizer was saved with other options: {', '.join(sorted(mine.keys() ^ theirs.keys()))}"
            )
        for name, value in mine.items():
            if name != "params" and not _alike(value, theirs[name]):
                raise ValueError(f"the option {name} of an optimizer does not fit")
        _check_average(mine, theirs, optimizer.state)
        _check_schedule(mine, theirs)
    _check_means(optimizer)
    trusting = isinstance(optimizer, LaProp | Muon) or any(group.get("fused") for group in optimizer.param_groups)
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if not isinstance(value, Tensor):
                continue
            if value.shape == parameter.shape:
                entries[name] = _laid_out_as(parameter, value)
            elif trusting and not (name in _SINGLE and value.numel() == 1):
                raise ValueError(f"{name} of an optimizer is {tuple(value.shape)} for {tuple(parameter.shape)}")


def _check_means(optimizer: Optimizer) -> None:
    """What our own optimizers step by is there, and finite."""
    needed = {LaProp: ("mean", "square"), Muon: ("mean",)}.get(type(optimizer), ())
    for entries in optimizer.state.values():
        for name in needed:
            value = entries.get(name)
            if not isinstance(value, Tensor) or not bool(torch.isfinite(value).all()):
                raise ValueError(f"the state of an optimizer does not hold a finite {name} of its gradients")


def _check_average(mine: Mapping[str, Any], theirs: Mapping[str, Any], state: Mapping[Any, Any]) -> None:
    """Averages of weights (`reverie.nn.keep_average`): their rate is no schedule, and each needs its iterate."""
    if "average" in mine and (theirs["average"] != mine["average"] or theirs["averaged"] < 0):
        raise ValueError("the average of an optimizer's weights was saved with another rate or a negative count")
    for parameter in theirs["params"]:
        entries = state.get(parameter, {})
        iterate = entries.get(ITERATE)
        whole = isinstance(iterate, Tensor) and iterate.shape == parameter.shape and bool(torch.isfinite(iterate).all())
        if (ITERATE in entries and not whole) or ("average" in mine and entries and not whole):
            raise ValueError("the state of an averaged weight does not hold its iterate")


def _check_schedule(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """What the rate rises and falls by (`reverie.nn.schedule_rate`) is the recipe's; the steps taken are a count."""
    fixed = ("full_lr", "warmup", "falls_after")
    if any(theirs.get(name) != mine.get(name) for name in fixed) or theirs.get("taken", 0) < 0:
        raise ValueError("the schedule of an optimizer's rate was saved with other steps or a negative count")


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)


def _alike(mine: Any, theirs: Any) -> bool:
    """Whether a schedule may have made the one into the other: switches stay, numbers are numbers."""
    if isinstance(mine, list | tuple):
        fits = isinstance(theirs, list | tuple) and len(mine) == len(theirs)
        return fits and all(map(_alike, mine, theirs))
    if isinstance(mine, Tensor):
        return isinstance(theirs, Tensor) and mine.shape == theirs.shape
    if isinstance(mine, bool | str) or mine is None:
        return bool(type(mine) is type(theirs) and mine == theirs)
    if isinstance(mine, int | float):
        return isinstance(theirs, int | float) and not isinstance(theirs, bool) and math.isfinite(theirs)
    return True
