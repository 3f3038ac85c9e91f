"""What torch's optimizers do with a closure."""

from collections.abc import Callable
from typing import Any

import torch

Closure = Callable[[], Any]


def answer(closure: Closure | None) -> Any:
    """What a step answers: what its closure, called with gradients, says; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
