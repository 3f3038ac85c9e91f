"""A point mass that is imagined exactly, so that the best plan is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.contracts import (
    Act,
    ActionSpec,
    Carry,
    Imagination,
    Latent,
    Sampling,
    ScoreBy,
    SearchPlanner,
    Trajectory,
)


@dataclass(frozen=True)
class ToyLatent(Latent):
    """D numbers `x`, drawn around `mean`; both (*B, D)."""

    x: Tensor
    mean: Tensor

    @property
    def features(self) -> Tensor:
        return self.x


def point_latent(position: Tensor) -> ToyLatent:
    """A noiseless state at `position`, (*B, D)."""
    return ToyLatent(position, position)


class PointMass:
    """Implements `Imagination` exactly: `x' = x + step * move`, reward `-|x' - target|^2` on arrival.

    Continuous actions move each of D = A dimensions by themselves. A discrete action i of A moves one dimension
    (D = 1) by `i - A // 2`. The best plan runs to the target as fast as it can and stays: `best_action` says where to
    go first, for any horizon. Everything is differentiable in states and (continuous) actions.

    Args:
        action: the action space.
        target: position of the target, the same in every dimension.
        has_value: whether `value` may be asked (it is `-value_scale * |x - target|^2`).
        nan_above: actions whose first entry lies above this give a reward that is not a number.
    """

    step = 0.5
    value_scale = 1.0

    def __init__(
        self,
        action: ActionSpec,
        target: float = 0.0,
        *,
        has_value: bool = True,
        nan_above: float = float("inf"),
    ) -> None:
        self.action, self.target, self._has_value, self.nan_above = action, target, has_value, nan_above
        self.size = 1 if action.is_discrete else action.size

    def starts(self, B: int, *, seed: int = 0) -> ToyLatent:
        """(B,) starts from which the target is one step away."""
        generator = torch.Generator().manual_seed(seed)
        if self.action.is_discrete:
            A = self.action.size
            index = torch.randint(A, (B, 1), generator=generator)
            return point_latent(self.target - self.step * (index - A // 2).float())  # (B, 1)
        away = torch.rand(B, self.size, generator=generator) * 2 - 1
        return point_latent(self.target - self.step * 0.8 * away)  # (B, D)

    def best_action(self, latent: Latent) -> Tensor:
        """(B, A): the one best first action from (B,) states."""
        wanted = (self.target - latent.features) / self.step  # (B, D)
        if not self.action.is_discrete:
            return wanted.clamp(-1, 1)
        index = (wanted[..., 0].round().long() + self.action.size // 2).clamp(0, self.action.size - 1)
        return torch.nn.functional.one_hot(index, self.action.size).to(wanted.dtype)

    def move(self, latent: Latent, action: Tensor) -> ToyLatent:
        """One step of (*B,) states with (*B, A) actions."""
        if self.action.is_discrete:
            moves = torch.arange(self.action.size, device=action.device, dtype=action.dtype) - self.action.size // 2
            action = (action * moves).sum(-1, keepdim=True)  # (*B, 1)
        return point_latent(latent.features + self.step * action)

    @property
    def has_value(self) -> bool:
        return self._has_value

    def rollout(self, start: Latent, act: Act, horizon: int, sampling: Sampling) -> Trajectory:
        states, actions = [point_latent(start.features)], []
        for _ in range(horizon):
            actions.append(act(states[-1], sampling))
            states.append(self.move(states[-1], actions[-1]))
        return Trajectory(ToyLatent.stack(states, 1), torch.stack(actions, 1))

    def rewards(self, trajectory: Trajectory) -> Tensor:
        arrived = trajectory.states[:, 1:].features  # (N, H, D)
        reward = -(arrived - self.target).square().sum(-1)  # (N, H)
        return torch.where(trajectory.actions[..., 0] > self.nan_above, torch.full_like(reward, torch.nan), reward)

    def continues(self, trajectory: Trajectory) -> Tensor:
        return torch.ones_like(trajectory.actions[..., 0])  # (N, H)

    def value(self, latent: Latent) -> Tensor:
        if not self.has_value:
            raise LookupError("this imagination has no value head: ask `has_value` first")
        return -self.value_scale * (latent.features - self.target).square().sum(-1)  # (*B)

    def returns(self, trajectory: Trajectory, discount: float = 1.0, bootstrap: bool = False) -> Tensor:
        H = trajectory.horizon
        weights = discount ** torch.arange(H, dtype=trajectory.actions.dtype)  # (H,)
        total = (self.rewards(trajectory) * weights).sum(-1)  # (N,)
        return total + discount**H * self.value(trajectory.states[:, -1]) if bootstrap else total

    def score(
        self,
        start: Latent,
        actions: Tensor,
        *,
        sampling: Sampling,
        particles: int | None = None,
        discount: float = 1.0,
        bootstrap: bool = False,
        risk: float = 0.0,
        continues: bool = True,
        by: ScoreBy = "reward",
    ) -> Tensor:
        B, N, H, A = actions.shape
        flat = actions.reshape(B * N, H, A)
        steps = iter(range(H))
        trajectory = self.rollout(start.repeat(N), lambda _state, _sampling: flat[:, next(steps)], H, sampling)
        scores = self.returns(trajectory, discount, bootstrap).reshape(B, N)
        return torch.where(scores.isnan(), torch.full_like(scores, -torch.inf), scores)

    def chose(self, plans: Tensor) -> None:
        """Nobody watches."""


class ToyPlanner(SearchPlanner):
    """Scores random plans, and the best plan of the step before moved on by one. Memory: that plan, (B, H, A)."""

    candidates = 512
    horizon = 2

    def initial(self, batch_size: int) -> Carry:
        plan = torch.zeros(batch_size, self.horizon, self.action.size)
        if self.action.is_discrete:
            plan[..., 0] = 1.0
        return {"plan": plan}

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        B, N, H, A = carry["plan"].shape[0], self.candidates, self.horizon, self.action.size
        noise = sampling.rand((B * N, H, A)).reshape(B, N, H, A)
        if self.action.is_discrete:
            drawn = torch.nn.functional.one_hot(noise.argmax(-1), A).to(noise.dtype)
        else:
            drawn = noise * 2 - 1  # (B, N, H, A)
        actions = torch.cat([carry["plan"][:, None], drawn], 1)  # (B, 1 + N, H, A)
        scores = imagination.score(latent, actions, sampling=sampling)  # (B, 1 + N)
        best = actions[torch.arange(B), scores.argmax(1)]  # (B, H, A)
        return best[:, 0], {"plan": torch.cat([best[:, 1:], best[:, -1:]], 1)}
