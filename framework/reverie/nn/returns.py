"""Returns of imagined trajectories and of replayed ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from reverie.contracts.batch import Batch
from reverie.nn.normalize import PreciseBuffers


def lambda_return(reward: Tensor, cont: Tensor, value: Tensor, discount: float, lam: float | Tensor) -> Tensor:
    """R_t = r_{t+1} + discount c_{t+1} [(1 - lam) V_{t+1} + lam R_{t+1}], with R_H = V_H (note 14).

    Args:
        reward: (N, H), on arrival at states 1..H.
        cont: (N, H), the probability that the episode goes on after that arrival.
        value: (N, H + 1), of states 0..H; the first is not read.
        lam: one number, or (N, H) for each arrival its own: 0 where what follows belongs to another episode.

    Returns:
        (N, H), the returns of states 0..H-1.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    if reward.shape != cont.shape or value.shape != (reward.shape[0], reward.shape[1] + 1):
        raise ValueError(
            f"lambda_return needs (N, H), (N, H) and (N, H + 1), got {tuple(reward.shape)}, {tuple(cont.shape)} "
            f"and {tuple(value.shape)}"
        )
    following = value[:, 1:]  # (N, H)
    kept = discount * cont  # (N, H)
    certain = (reward + (1 - lam) * kept * following).unbind(1)  # H x (N,)
    carried = (lam * kept).unbind(1)  # H x (N,)
    latest = following[:, -1]  # (N,)
    returns = []
    for base, weight in zip(reversed(certain), reversed(carried), strict=True):
        latest = torch.addcmul(base, weight, latest)  # (N,)
        returns.append(latest)
    return torch.stack(returns[::-1], 1)  # (N, H)


def replayed_returns(batch: Batch, anchor: Tensor, discount: float, lam: float) -> tuple[Tensor, Tensor]:
    """Lambda-returns of real rewards and real continue flags, and which of them mean something, both (B, T - 1).

    R_t = r_{t+1} + discount c_{t+1} [(1 - l_{t+1}) A_{t+1} + l_{t+1} R_{t+1}], R_{T-1} = A_{T-1}

    with l = lam inside an episode and 0 on arrival at its last step. A true end cuts the return by c = 0, a time limit
    is bootstrapped from A of the state that it stopped in. States in which an episode ended have no return: what stands
    behind them in the row is another episode.

    Args:
        anchor: A, (B, T): what each state is thought to be worth.
    """
    last = batch.is_last.clone()  # (B, T)
    last[:, :-1] |= batch.is_first[:, 1:]  # an episode that broke off without a last step ends where it broke off
    trust = lam * (~last).to(anchor.dtype)  # (B, T)
    returns = lambda_return(batch.reward[:, 1:], batch.cont[:, 1:], anchor, discount, trust[:, 1:])  # (B, T - 1)
    return returns, (~last[:, :-1]).to(anchor.dtype)


def trajectory_weights(start: Tensor, cont: Tensor, discount: float) -> Tensor:
    """How much each imagined state counts: the chance of still being alive there, discounted (note 15).

    Args:
        start: (N,), the real continue flag of the start state (0 where the episode truly ended).
        cont: (N, H), predicted for states 1..H.
        discount: 1.0 if the continue head's target already contains it.

    Returns:
        (N, H) without gradient, for states 0..H-1; the first column is `start`.
    """
    steps = torch.cat((start.unsqueeze(1), discount * cont[:, :-1]), 1)  # (N, H)
    return torch.cumprod(steps.detach(), 1)


class ReturnScale(PreciseBuffers):
    """The range in which returns lie: a moving average of their 5th and 95th percentiles (DreamerV3, equation 12).

    `divisor()` is max(floor, P95 - P5), so that small returns are not blown up. The averages are buffers: they are
    saved with the learner that owns them (note 16).

    Args:
        decay: of the moving average.
        low, high: quantiles.
        floor: smallest divisor.
        debias: divide out the zero that the average starts from; the published code of 2023 does not.
    """

    low: Tensor
    high: Tensor
    weight: Tensor

    def __init__(
        self, decay: float = 0.99, low: float = 0.05, high: float = 0.95, floor: float = 1.0, debias: bool = False
    ) -> None:
        super().__init__()
        self.decay, self.quantiles, self.floor, self.debias = decay, (low, high), floor, debias
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def update(self, returns: Tensor, gather: Callable[[Tensor], Tensor] | None = None) -> None:
        """Take in a batch of returns of any shape. `gather` joins the rows of all ranks (a percentile of means is not
        the mean of percentiles)."""
        flat = returns.detach().reshape(-1)  # (N,)
        if gather is not None:
            flat = gather(flat)
        quantiles = torch.quantile(flat.float(), flat.new_tensor(self.quantiles, dtype=torch.float32))  # (2,)
        self.low.lerp_(quantiles[0].to(self.low.dtype), 1 - self.decay)
        self.high.lerp_(quantiles[1].to(self.high.dtype), 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)

    def range(self) -> Tensor:
        """() the averaged P95 - P5, before the floor."""
        spread = self.high - self.low
        return spread / self.weight.clamp_min(1e-8) if self.debias else spread

    def divisor(self) -> Tensor:
        """() what advantages are divided by."""
        return self.range().clamp_min(self.floor)
