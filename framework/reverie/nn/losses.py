"""Negative log-likelihood with the shapes checked."""

from torch import Tensor

from reverie.contracts.sampling import Distribution


def nll(distribution: Distribution, target: Tensor, members: int | None = None) -> Tensor:
    """-log p(target), (*B).

    Args:
        distribution: batch shape (*B), or (*B, M) for a head with `members=M`: each member sees the same target, and
            the mean over members is returned.
        target: (*B, *event).

    Raises:
        ValueError: if the shapes differ. torch would broadcast some of them in silence.
    """
    event = distribution.event_shape
    batch = target.shape[: target.dim() - len(event)]
    expected = batch if members is None else (*batch, members)
    if tuple(distribution.batch_shape) != tuple(expected) or target.shape[len(batch) :] != event:
        raise ValueError(
            f"the distribution has batch shape {tuple(distribution.batch_shape)} and event shape {tuple(event)}, "
            f"which does not fit a target of shape {tuple(target.shape)}"
            + (f" and {members} members" if members is not None else "")
        )
    if members is None:
        return -distribution.log_prob(target)
    spread = target.unsqueeze(len(batch)).expand(*batch, members, *event)  # (*B, M, *event)
    return -distribution.log_prob(spread).mean(-1)
