"""Optimizers, by the names and defaults of the field, and what goes before their steps."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reverie.nn.averaging import keep_average
from reverie.nn.laprop import LaProp
from reverie.nn.muon import Muon, is_matrix

OptimizerName = Literal["adam", "laprop", "muon"]


def adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    eps: float = 1e-8,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam, or AdamW where `weight_decay` is given.

    Fused: one call for all parameters takes a third of the time of torch's loop, which small networks feel.

    Raises:
        ValueError: without parameters, since a learner that trains nothing is a mistake.
    """
    listed = _some(parameters)
    if weight_decay:
        return torch.optim.AdamW(listed, lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(listed, lr=lr, eps=eps, betas=betas, fused=True)


def make_optimizers(
    name: OptimizerName,
    parameters: Iterable[nn.Parameter],
    lr: float,
    eps: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    warmup: int = 0,
    falls_after: int | None = None,
    weight_decay: float = 0.0,
    average: float | None = None,
) -> list[torch.optim.Optimizer]:
    """What steps a learner's parameters, by its name: `adam`, `laprop` (see `LaProp`), or `muon` (see `Muon`), which
    takes the matrices and leaves the rest to Adam.

    Args:
        betas: how slowly Adam and LaProp forget gradients and their squares.
        warmup, falls_after: see `schedule_rate`.
        average: see `keep_average`.

    Raises:
        ValueError: without parameters.
    """
    listed = _some(parameters)
    made: list[torch.optim.Optimizer] = []
    if name == "laprop":
        made = [LaProp(listed, lr, eps, betas, weight_decay)]
    elif name == "muon":
        matrices = [parameter for parameter in listed if is_matrix(parameter)]
        listed = [parameter for parameter in listed if not is_matrix(parameter)]
        made = [Muon(matrices, lr, weight_decay=weight_decay)] if matrices else []
    if listed and name != "laprop":
        made.append(adam(listed, lr, eps, betas, weight_decay))
    return [keep_average(schedule_rate(one, warmup, falls_after), average) for one in made]


def schedule_rate(
    optimizer: torch.optim.Optimizer, warmup: int = 0, falls_after: int | None = None
) -> torch.optim.Optimizer:
    """Let the learning rate rise linearly and fall with the root of time: step k = 0, 1, 2 ... uses

        min(1, k / warmup) * min(1, sqrt(falls_after / k))

    of it. With a warm-up the first step moves nothing (as in DreamerV3's current code, which warms up over 1,000). The
    fall is that of Vaswani et al. 2017, section 5.3.

    What was taken is kept in the optimizer's own state, and saved and restored with it. Where `falls_after` is less
    than `warmup`, the whole rate is never reached.

    Raises:
        ValueError: where steps are fewer than none (`falls_after`: than one).
    """
    if warmup < 0 or (falls_after is not None and falls_after < 1):
        raise ValueError(f"warmup must be at least 0 and falls_after at least 1, not {warmup} and {falls_after}")
    options = {"warmup": warmup, "falls_after": falls_after}
    given = {name: steps for name, steps in options.items() if steps}
    if given:
        for group in optimizer.param_groups:
            group.update(full_lr=group["lr"], taken=0, **given)
        optimizer.register_step_pre_hook(_set_rate)
    return optimizer


def _set_rate(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        taken, warmup, falls_after = group["taken"], group.get("warmup"), group.get("falls_after")
        risen = min(1.0, taken / warmup) if warmup else 1.0
        fallen = math.sqrt(falls_after / max(taken, falls_after)) if falls_after else 1.0
        group["lr"] = group["full_lr"] * risen * fallen
        group["taken"] = taken + 1


@torch.no_grad()
def clip_adaptively(parameters: Sequence[Tensor], limit: float, smallest: float = 1e-3) -> None:
    """Adaptive gradient clipping (Brock et al. 2021), per tensor as in DreamerV3's current code: no gradient is longer
    than `limit` times its weight, |g| <= limit * max(smallest, |w|). The paper compares unit by unit instead.

    Args:
        parameters: those with a gradient are clipped, in place.
        limit: published: 0.3.
        smallest: length at which weights count that are shorter, so that those that start at zero can move.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    if not trained:
        return
    allowed = limit * torch.stack(torch._foreach_norm(trained)).clamp_min(smallest)  # (P,)
    found = torch.stack(torch._foreach_norm(gradients))  # (P,)
    shares = (allowed / torch.maximum(allowed, found)).unbind()  # P x (); 1 where nothing is to be cut
    torch._foreach_mul_(gradients, shares)


def _some(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    listed = list(parameters)
    if not listed:
        raise ValueError("nothing to optimise: the slots that this learner trains hold no parameters")
    return listed
