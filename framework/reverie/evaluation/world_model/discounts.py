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


def discounts_of(configs: Iterable[Any], repeat: int = 1) -> Discounts:
    """Read the options `discount` and `continue_discount`: a value is discounted by both.

    Args:
        configs: of the recipe's learners.
        repeat: frames of one decision, for a `discount` that says `discount_per: frame`.
    """
    read = list(configs)
    found = {
        float(config.discount) ** (repeat if getattr(config, "discount_per", "decision") == "frame" else 1)
        for config in read
        if isinstance(getattr(config, "discount", None), float | int)
    }
    folded = prod(float(getattr(config, "continue_discount", 1.0)) for config in read)
    return Discounts(found.pop() * folded if len(found) == 1 else None, folded)
