"""Which discount a recipe's values have: learners say it in their options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class Discounts:
    """What the options of a recipe's learners say.

    Args:
        value: per step, of the returns that a value head estimates; None where no learner has an option `discount`, or
            several differ.
        cont: what a certain "goes on" is for the continue head: the option `continue_discount`, 1 without it.
    """

    value: float | None
    cont: float


def discounts_of(configs: Iterable[Any]) -> Discounts:
    """Read the options `discount` and `continue_discount`: a value is discounted by both."""
    read = list(configs)
    found = {float(config.discount) for config in read if isinstance(getattr(config, "discount", None), float | int)}
    folded = prod(float(getattr(config, "continue_discount", 1.0)) for config in read)
    return Discounts(found.pop() * folded if len(found) == 1 else None, folded)
