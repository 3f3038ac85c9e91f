"""Muon: matrices move by the nearest orthogonal matrix to their momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from reverie.nn.closures import Closure, answer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that is iterated (Jordan et al. 2024): steepest at 0, and within 0.68 to 1.21 after five rounds."""
ROUNDS = 5
FLOOR = 1e-7
"""Shorter momenta count as this long (torch's), so that a matrix whose gradients have gone comes to rest."""
LENGTH = 0.2
"""Root mean square of a step's entries, in learning rates: about that of Adam's (Liu et al. 2025, section 2.2)."""


class Muon(torch.optim.Optimizer):
    """Momentum whose singular values are all brought to about 1 (Jordan et al. 2024, "Muon").

    m <- b m + (1 - b) g,   u = b m + (1 - b) g,   weight <- weight - 0.2 lr sqrt(max(rows, columns)) orthogonal(u)

    Adam takes each number for itself, so that the few directions in which all gradients of a layer agree take nearly
    all of its step. Here every direction gets the same share, and what is rarely asked for is learned as well.
    The length of a step is that of Adam at the same learning rate.

    As `torch.optim.Muon` with `match_rms_adamw`, but in the weights' own precision (bfloat16 is slow without hardware
    for it, and rounds to a hundredth), with all matrices of a shape at once, and for more than matrices: of three
    dimensions the first counts members or blocks, each with a matrix of its own; of four (convolutions), everything
    behind the first is one side.

    Args:
        params: with two to four dimensions, more than one row and column; `make_optimizers` gives Adam the others.
        momentum: b.
        weight_decay: decoupled: weights shrink by lr times this each step.

    Raises:
        ValueError: for a number out of its range, or a parameter that is no matrix.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"Muon needs lr and weight_decay of at least 0 and a momentum in [0, 1), got lr {lr}, weight_decay "
                f"{weight_decay} and momentum {momentum}"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for parameter in group["params"]:
                if not is_matrix(parameter):
                    raise ValueError(f"Muon steps matrices, not a parameter of shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step of every parameter that has a gradient; a closure is called first, with gradients, and answered."""
        loss = answer(closure)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                with torch.autocast(parameters[0].device.type, enabled=False):  # Lightning steps inside of its own
                    self._step(parameters, group)
        return loss

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = [self._mean(parameter) for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, means, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        alike: dict[tuple[int, int], list[int]] = {}
        for number, update in enumerate(updates):
            alike.setdefault(tuple(sorted(_matrices(update).shape[1:])), []).append(number)  # type: ignore[arg-type]
        for (_, longer), numbers in alike.items():
            made = _orthogonal_all([updates[number] for number in numbers])
            length = LENGTH * math.sqrt(longer)
            torch._foreach_add_([parameters[number] for number in numbers], made, alpha=-group["lr"] * length)

    def _mean(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(parameter)
        mean: Tensor = state["mean"]
        return mean


def is_matrix(parameter: Tensor) -> bool:
    """Whether it has directions: two to four dimensions, and more than one row and column."""
    return 2 <= parameter.ndim <= 4 and min(_matrices(parameter).shape[1:]) > 1


def orthogonal(x: Tensor) -> Tensor:
    """(N, R, C) with R <= C -> the same singular vectors, with singular values of about 1 (0.68 to 1.21; those
    below two thousandths of the norm stay smaller): five rounds of a Newton-Schulz iteration of degree five."""
    first, second, third = COEFFICIENTS
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(FLOOR)
    for _ in range(ROUNDS):
        square = x @ x.mT  # (N, R, R)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=second, alpha=third), x, beta=first)
    return x


def _matrices(parameter: Tensor) -> Tensor:
    """(R, C), (N, R, C) or (out, in, k, k) -> (N, R, C)."""
    if parameter.ndim == 3:
        return parameter
    return parameter.flatten(1).unsqueeze(0)


def _orthogonal_all(updates: list[Tensor]) -> list[Tensor]:
    """`orthogonal` of all, whose matrices have the same two sides, one way round or the other."""
    matrices = [_matrices(update) for update in updates]
    tall = [matrix.shape[1] > matrix.shape[2] for matrix in matrices]
    found = orthogonal(torch.cat([matrix.mT if up else matrix for matrix, up in zip(matrices, tall, strict=True)]))
    parts = found.split([len(matrix) for matrix in matrices])
    turned = (part.mT if up else part for part, up in zip(parts, tall, strict=True))
    return [part.reshape(update.shape) for part, update in zip(turned, updates, strict=True)]
