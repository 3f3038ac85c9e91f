"""Two further toy dynamics: an ensemble, and one that is trained on its own open-loop rollout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.contracts import ActionSpec, Dynamics, Observed, Sampling, View
from reverie.testing.toy_imagination import ToyLatent
from reverie.testing.toys import LinearDynamics


@dataclass(frozen=True)
class MemberLatent(ToyLatent):
    """A `ToyLatent` that also says which member predicts it next: `member`, (*B) int64."""

    event_dims: ClassVar[dict[str, int]] = {"member": 0}

    member: Tensor

    @classmethod
    def of(cls, state: ToyLatent, member: Tensor) -> MemberLatent:
        """`state` with its member."""
        return cls(state.x, state.mean, member)


class LinearEnsemble(Dynamics[MemberLatent]):
    """The state is the embedding; M linear members predict the next one. Copy j of a branch belongs to member j mod M.

    Losses: squared error of every member's prediction of the next embedding, summed over members.
    """

    members: int | None = 3
    noise = 0.1

    def __init__(self, config: Any, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.feature_size = self.code_size = embed_size
        self.layers = nn.ModuleList([nn.Linear(embed_size + action.size, embed_size) for _ in range(3)])

    def initial(self, batch_size: int) -> MemberLatent:
        weight = next(self.parameters())
        zeros = weight.new_zeros(batch_size, self.feature_size)
        return MemberLatent(zeros, zeros, torch.zeros(batch_size, dtype=torch.int64, device=weight.device))

    def predict(self, x: Tensor, action: Tensor) -> Tensor:
        """(*B, D) states -> (*B, M, D) predictions."""
        return torch.stack([layer(torch.cat([x, action], -1)) for layer in self.layers], -2)

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: MemberLatent | None = None, *, sampling: Sampling
    ) -> Observed[MemberLatent]:
        begin = self.initial(is_first.shape[0]) if state is None else state
        before = torch.cat([begin.x[:, None], embed[:, :-1]], 1)  # (B, T, D)
        forget = is_first[..., None]
        before, action = before.masked_fill(forget, 0.0), action.masked_fill(forget, 0.0)
        member = torch.zeros_like(is_first, dtype=torch.int64)
        predicted = self.predict(before, action)[:, :, 0]  # (B, T, D): states are of member 0 until they are branched
        states, priors = MemberLatent(embed, embed, member), MemberLatent(predicted, predicted, member)
        return Observed(states=states, priors=priors, train=states, last=states[:, -1])

    def imagine(self, state: MemberLatent, action: Tensor, sampling: Sampling) -> MemberLatent:
        index = state.member[:, None, None].expand(-1, 1, self.feature_size)
        mean = self.predict(state.x, action).gather(1, index)[:, 0]  # (B, D)
        noise = 0.0 if sampling.mode == "mode" else self.noise * sampling.randn(mean.shape, dtype=mean.dtype)
        return MemberLatent(mean + noise, mean, state.member)

    def branch(self, state: MemberLatent, n: int) -> MemberLatent:
        copies = torch.arange(n, device=state.device).repeat(state.batch_shape[0])  # (B * n,): 0..n-1, 0..n-1, ...
        return replace(state.repeat(n), member=copies % len(self.layers))

    def losses(self, view: View) -> dict[str, Tensor]:
        states, batch = view.observed.states, view.batch
        before = torch.cat([torch.zeros_like(states.x[:, :1]), states.x[:, :-1]], 1)
        forget = batch.is_first[..., None]
        predicted = self.predict(before.masked_fill(forget, 0.0), batch.action.masked_fill(forget, 0.0))
        error = (predicted - states.x.detach()[:, :, None]).square().sum((-1, -2))  # (B, T)
        return {"prediction": error * (~batch.is_first).to(error.dtype)}


class OpenLoopDynamics(LinearDynamics):
    """An implicit model: the state is a linear function of the embedding, and `train` a rollout.

    The rollout starts from the first state of each episode and then follows its own predictions. Loss: squared
    distance of the rollout to the detached states.
    """

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: ToyLatent | None = None, *, sampling: Sampling
    ) -> Observed[ToyLatent]:
        begin = self.initial(is_first.shape[0]) if state is None else state
        blank = embed.new_zeros(*is_first.shape, self.size)
        encoded = self.correction(torch.cat([embed, blank], -1))  # (B, T, D)
        forget = is_first[..., None]
        before = torch.cat([begin.x[:, None], encoded[:, :-1]], 1).masked_fill(forget, 0.0)
        predicted = self.transition(torch.cat([before, action.masked_fill(forget, 0.0)], -1))  # (B, T, D)
        rollout = [encoded[:, 0]]
        for t in range(1, is_first.shape[1]):
            mean = self.transition(torch.cat([rollout[-1], action[:, t]], -1))  # (B, D)
            rollout.append(torch.where(is_first[:, t, None], encoded[:, t], mean))
        train = torch.stack(rollout, 1)  # (B, T, D)
        states = ToyLatent(encoded, encoded)
        return Observed(
            states=states, priors=ToyLatent(predicted, predicted), train=ToyLatent(train, train), last=states[:, -1]
        )

    def losses(self, view: View) -> dict[str, Tensor]:
        observed = view.observed
        return {"consistency": (observed.train.mean - observed.states.mean.detach()).square().sum(-1)}  # (B, T)
