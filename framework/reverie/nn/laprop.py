"""LaProp: gradients are normalised first and averaged afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from reverie.nn.closures import Closure, answer


class LaProp(torch.optim.Optimizer):
    """Adam with its two averages in the other order (Ziyin et al. 2020), as in DreamerV3's current code.

    v <- b2 v + (1 - b2) g^2,   u = g / (sqrt(v / (1 - b2^t)) + eps),   m <- b1 m + (1 - b1) u,
    weight <- weight - lr m / (1 - b1^t)

    Adam divides its average of old gradients by the scale of today, so that scales which change fast need betas that
    fit together and an `eps` that bounds the quotient. Here each gradient is divided by the scale of its own time,
    which contains it: u never exceeds 1 / sqrt(1 - b2), and `eps` can be nearly nothing.

    Args:
        weight_decay: decoupled: weights shrink by lr times this each step.

    Raises:
        ValueError: for a number out of its range.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        eps: float = 1e-20,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"LaProp needs lr, eps and weight_decay of at least 0 and betas in [0, 1), got lr {lr}, eps {eps}, "
                f"weight_decay {weight_decay} and betas {betas}"
            )
        super().__init__(params, {"lr": lr, "eps": eps, "betas": tuple(betas), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One step of every parameter that has a gradient; a closure is called first, with gradients, and answered."""
        loss = answer(closure)
        for group in self.param_groups:
            behind: dict[int, list[Tensor]] = {}  # parameters that began later have taken fewer steps
            for parameter in group["params"]:
                if parameter.grad is not None:
                    behind.setdefault(self._taken(parameter), []).append(parameter)
            for taken, parameters in behind.items():
                self._step(parameters, group, taken + 1)
        return loss

    def _taken(self, parameter: Tensor) -> int:
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        return int(state["step"])

    def _step(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        (first, second), lr = group["betas"], group["lr"]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = [self.state[parameter]["mean"] for parameter in parameters]
        squares = [self.state[parameter]["square"] for parameter in parameters]
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        scales = list(torch._foreach_sqrt(torch._foreach_div(squares, 1 - second**step)))
        torch._foreach_add_(scales, group["eps"])
        torch._foreach_lerp_(means, torch._foreach_div(gradients, scales), 1 - first)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, means, alpha=-lr / (1 - first**step))
        for parameter in parameters:
            self.state[parameter]["step"] = step
