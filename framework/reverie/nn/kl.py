"""The KL terms of recurrent state-space models, with the floors of each paper (note 9).

PlaNet (`element`)    mean over (b, t) of max(0, KL - free)
DreamerV1 (`mean`)    max(mean over (b, t) of KL, free)
DreamerV2             as V1 with free = 0, its gradient split between prior and posterior by a balance of 0.8
DreamerV3 (`each`)    dyn * mean of max(KL(sg(post) || prior), free) + rep * mean of max(KL(post || sg(prior)), free)

KL is summed over all latents before any floor. PlaNet subtracts the free nats and the others do not; gradients agree.
"""

from typing import Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

Floor = Literal["each", "mean", "element"]


class Divergent(Protocol):
    """A distribution with a closed-form divergence to its own kind: `OneHot`, `Normal`."""

    def detach(self) -> Self: ...
    def kl(self, other: Self, /) -> Tensor: ...


D = TypeVar("D", bound=Divergent)


def kl_balanced(
    post: D, prior: D, *, dyn: float = 0.5, rep: float = 0.1, free_nats: float = 1.0
) -> tuple[Tensor, Tensor]:
    """DreamerV3's two terms, scales included, each with batch shape (*B).

    The first trains only the prior, the second only the posterior; each is floored where it stands.
    """
    dynamics = post.detach().kl(prior).clamp_min(free_nats)  # (*B)
    representation = post.kl(prior.detach()).clamp_min(free_nats)  # (*B)
    return dyn * dynamics, rep * representation


def kl_joint(
    post: D,
    prior: D,
    *,
    scale: float = 1.0,
    free_nats: float = 3.0,
    floor: Literal["mean", "element"] = "mean",
    balance: float | None = None,
) -> Tensor:
    """The single term of PlaNet and of DreamerV1 and V2, batch shape (*B), scale included.

    Args:
        floor: `element` floors each (b, t) at zero after subtracting; `mean` floors the mean over the whole batch, of
            all ranks, so its rows only mean something together: their mean is max(mean KL, free).
        balance: share of the gradient that trains the prior; None gives both all of it. The value is the same.
    """
    if balance is None:
        value = post.kl(prior)  # (*B)
    else:
        value = balance * post.detach().kl(prior) + (1 - balance) * post.kl(prior.detach())  # (*B)
    if floor == "element":
        return scale * (value - free_nats).clamp_min(0)
    above = mean_over_ranks(value) > free_nats  # ()
    return scale * torch.where(above, value, torch.full_like(value, free_nats))


def mean_over_ranks(value: Tensor) -> Tensor:
    """() the mean over all entries of all ranks, without gradient. A floor on a mean is no mean of floors."""
    mean = value.detach().mean()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(mean)
        mean = mean / torch.distributed.get_world_size()
    return mean
