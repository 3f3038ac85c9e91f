"""Building a graph through parameters without training them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

_frozen: list[list[nn.Parameter]] = []


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, the parameters of `modules` do not require gradients; tensors still carry theirs.

    Freezes parameters, not tensors: start states are detached by the caller. No backward and no activation
    checkpointing may happen inside.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    _set(parameters, False)
    _frozen.append(parameters)
    try:
        yield
    finally:
        _frozen.pop()  # contexts nest, so the last one entered is ours; comparing lists of tensors would be wrong
        _set(parameters, True)


@contextmanager
def thawed() -> Iterator[None]:
    """Inside, gradients are on and whatever `frozen` holds is as it was outside of it. Contexts nest."""
    # Only what is frozen now: what an outer `thawed` gave back is its own to freeze again.
    held = [parameter for parameters in _frozen for parameter in parameters if not parameter.requires_grad]
    _set(held, True)
    try:
        with torch.enable_grad():
            yield
    finally:
        _set(held, False)


def _set(parameters: list[nn.Parameter], value: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(value)
