"""Comparisons that explain themselves with numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import Latent
from reverie.testing.kit import Violation

TOLERANCE = 1e-4
"""Largest difference that counts as none, relative to the largest magnitude (at least 1). Sums in another order
differ by about 1e-6; a real mistake is larger by orders of magnitude."""


def require(condition: bool, message: str) -> None:
    """Raise `Violation(message)` unless the condition holds."""
    if not condition:
        raise Violation(message)


def same(actual: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """The two tensors agree in shape and, up to rounding, in value."""
    require(
        actual.shape == expected.shape,
        f"{what}: the shape is {tuple(actual.shape)}, expected {tuple(expected.shape)}",
    )
    if actual.numel() == 0:
        return
    left, right = actual.detach().double(), expected.detach().double()
    scale = max(1.0, float(right.abs().max()))
    difference = (left - right).abs()
    wrong = ~(difference <= tolerance * scale)
    if wrong.any():
        place = _place(difference)
        raise Violation(
            f"{what}: {int(wrong.sum())} of {left.numel()} numbers differ, most at {list(place)}: "
            f"{float(left[place]):.6g} against {float(right[place]):.6g} (allowed difference {tolerance * scale:.2g})"
        )


def same_latent(actual: Latent, expected: Latent, what: str, tolerance: float = TOLERANCE) -> None:
    """Every field of the two latents agrees."""
    theirs = expected.tensors()
    for name, value in actual.tensors().items():
        same(value, theirs[name], f"{what}, field '{name}'", tolerance)


def differs(actual: Tensor, other: Tensor, what: str) -> None:
    """The two tensors do not agree: something that should have had an effect had one."""
    gap = float((actual.detach().double() - other.detach().double()).abs().max())
    require(gap > 1e-6, f"{what} (largest difference {gap:.2g})")


def finite(value: Tensor, what: str) -> None:
    """Every number is finite."""
    bad = ~torch.isfinite(value)
    if bad.any():
        place = tuple(int(index) for index in bad.nonzero()[0])
        raise Violation(f"{what}: {int(bad.sum())} of {value.numel()} numbers are not finite, first at {list(place)}")


def shape(value: Tensor, expected: tuple[int, ...], what: str) -> None:
    """The tensor has exactly this shape."""
    require(tuple(value.shape) == expected, f"{what}: the shape is {tuple(value.shape)}, expected {expected}")


def _place(difference: Tensor) -> tuple[int, ...]:
    flat = int(torch.nan_to_num(difference, torch.inf).argmax())
    return tuple(int(index) for index in torch.unravel_index(torch.tensor(flat), difference.shape))
