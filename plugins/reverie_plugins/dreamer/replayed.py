"""Returns along replayed sequences: what the critic is told besides imagination (current DreamerV3)."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import Batch
from reverie.nn import lambda_return


def replayed_returns(batch: Batch, anchor: Tensor, discount: float, lam: float) -> tuple[Tensor, Tensor]:
    """Lambda-returns of real rewards and real continue flags, and which of them mean something, both (B, T - 1).

    R_t = r_{t+1} + discount c_{t+1} [(1 - l_{t+1}) A_{t+1} + l_{t+1} R_{t+1}], R_{T-1} = A_{T-1}

    with l = lam inside an episode and 0 on arrival at its last step. A true end cuts the return by c = 0, a time limit
    is bootstrapped from A of the state that it stopped in. States in which an episode ended have no return: what stands
    behind them in the row is another episode.

    Args:
        anchor: A, (B, T): what each state is thought to be worth, the return imagined from it where there is one.
    """
    last = batch.is_last.clone()  # (B, T)
    last[:, :-1] |= batch.is_first[:, 1:]  # an episode that broke off without a last step ends where it broke off
    trust = lam * (~last).to(anchor.dtype)  # (B, T)
    returns = lambda_return(batch.reward[:, 1:], batch.cont[:, 1:], anchor, discount, trust[:, 1:])  # (B, T - 1)
    return returns, (~last[:, :-1]).to(anchor.dtype)


def anchors(value: Tensor, times: Tensor, imagined: Tensor) -> Tensor:
    """(B, T) without gradient: `value` of all states, replaced by the returns that were imagined from some of them.

    Args:
        value: (B, T).
        times: (B, K), the states from which imagination started.
        imagined: (B * K,), their imagined returns.
    """
    return torch.scatter(value.detach(), 1, times, imagined.detach().reshape(times.shape).to(value.dtype))
