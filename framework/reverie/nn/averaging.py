"""Weights that are the moving average of what an optimizer steps through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ITERATE = "iterate"
"""Entry of a parameter's state: the optimizer's own weights, while the parameter holds their average."""


def keep_average(optimizer: Optimizer, rate: float | None) -> Optimizer:
    """Ask for the average of an optimizer's iterates (Polyak & Juditsky 1992), with forgetting.

    A step of Adam is about as long as its learning rate, however small the gradient: near a minimum the iterates run
    around it, and their mean lies much closer. What `iterates` makes of it, after the n-th update:

    average <- average + max(rate, 1 / n) (iterate - average)

    Both are saved and restored with the optimizer's state.

    Args:
        rate: how far the average moves each time, in (0, 1]; None asks for nothing.

    Raises:
        ValueError: for a rate out of its range.
    """
    if rate is None:
        return optimizer
    if not 0 < rate <= 1:
        raise ValueError(f"the average of an optimizer's iterates needs a rate in (0, 1], got {rate}")
    for group in optimizer.param_groups:
        group.update(average=rate, averaged=0)
    optimizer.register_step_post_hook(_begin)
    return optimizer


def averages(optimizers: Iterable[Any]) -> bool:
    """Whether one of them was asked by `keep_average`."""
    return any(True for _ in _averaged(optimizers))


@contextmanager
def iterates(optimizers: Iterable[Any]) -> Iterator[None]:
    """Inside, parameters hold the iterates of their optimizers; outside, the averages, which move where this ends.

    Optimizers without `keep_average` are left alone. After an error the averages are what they were before.

    Args:
        optimizers: torch's, or wrappers with their `param_groups` and `state`.
    """
    kept = [_Group(group, optimizer.state) for optimizer, group in _averaged(optimizers)]
    with torch.no_grad():
        for group in kept:
            group.enter()
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for group in kept:
                group.leave(moves=False)
        raise
    with torch.no_grad():
        for group in kept:
            group.leave()


@torch.no_grad()
def restart_averages(optimizers: Iterable[Any]) -> None:
    """Begin anew where the parameters stand now: what others made of them since the last update is the next iterate.

    Without it, the next update would go on from an iterate of before, and walk back to it.
    """
    for optimizer, group in _averaged(optimizers):
        group["averaged"] = 0
        for parameter in group["params"]:
            if ITERATE in optimizer.state.get(parameter, ()):
                optimizer.state[parameter][ITERATE].copy_(parameter)


def _averaged(optimizers: Iterable[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Groups of parameters that have an average, each with its optimizer."""
    for optimizer in optimizers:
        for group in getattr(optimizer, "param_groups", ()):
            if "average" in group:
                yield optimizer, group


@torch.no_grad()
def _begin(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """What was stepped for the first time is its own average so far."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and ITERATE not in optimizer.state[parameter]:
                optimizer.state[parameter][ITERATE] = parameter.detach().clone()


class _Group:
    """The parameters of one group that have an average, and those averages while the iterates are in their place.

    What is frozen now stays where it is.
    """

    def __init__(self, options: dict[str, Any], state: Any) -> None:
        self.options, self.state = options, state
        self.parameters: list[nn.Parameter] = [
            p for p in options["params"] if p.requires_grad and ITERATE in state.get(p, ())
        ]
        self.averages: list[Tensor] = []

    def enter(self) -> None:
        self.averages = [parameter.clone() for parameter in self.parameters]
        _copy(self.parameters, self._iterates())

    def leave(self, moves: bool = True) -> None:
        if moves:
            self.options["averaged"] += 1
            rate = max(float(self.options["average"]), 1 / self.options["averaged"])
            _copy(self._iterates(), self.parameters)
            if self.averages:
                torch._foreach_lerp_(self.averages, list(self.parameters), rate)
        _copy(self.parameters, self.averages)

    def _iterates(self) -> list[Tensor]:
        return [self.state[parameter][ITERATE] for parameter in self.parameters]


def _copy(into: Iterable[Tensor], source: Iterable[Tensor]) -> None:
    targets = list(into)
    if targets:
        torch._foreach_copy_(targets, list(source))
