"""A world model without a decoder: states and observations recognise each other.

InfoNCE (van den Oord et al. 2018) between latent states and embeddings, as Dreamer's contrastive representation
objective (Hafner et al. 2020, section 4): it bounds the information that a state carries about its observation from
below, so that a constant state or embedding, which would satisfy a plain consistency loss, is the worst answer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.contracts import AgentParts, Objective, View
from reverie.nn import LatentMLP, linear
from reverie_plugins.perception.config import ContrastiveConfig

_NEVER = -1e9
"""A logit that is never chosen. Finite, because a column of infinities has no gradient."""


class Contrastive(Objective):
    """Every state picks its own observation out of those of the whole batch, and every observation its state.

    The wrong answers are the rows of this process: two ranks compare among B/2 chunks each, not among B.
    """

    def __init__(self, config: ContrastiveConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self.config = config
        self.state_net = LatentMLP(agent.dynamics.feature_size, config.units, 1, config.dim)
        self.embed_net = linear(agent.encoder.embed_size, config.dim)

    def losses(self, view: View, agent: AgentParts) -> dict[str, Tensor]:
        first = view.batch.is_first  # (B, T)
        states = view.observed.train if self.config.source == "state" else view.observed.priors
        anchors = F.normalize(self.state_net.forward(states), dim=-1).flatten(0, 1)  # (N, dim), N = B T
        targets = F.normalize(self.embed_net(view.embed), dim=-1).flatten(0, 1)  # (N, dim)
        logits = anchors @ targets.t() / self.config.temperature  # (N, N)
        if self.config.neighbours:
            logits = logits.masked_fill(self._neighbours(first), _NEVER)
        valid = torch.ones_like(first) if self.config.source == "state" else self._predicted(first)
        valid = valid.flatten()  # (N,)
        right = logits.diagonal()  # (N,)
        # An invalid state is no candidate for anybody either.
        columns = logits.masked_fill(~valid.unsqueeze(1), _NEVER) if self.config.source == "prior" else logits
        loss = 0.5 * (logits.logsumexp(1) + columns.logsumexp(0)) - right  # (N,)
        loss = torch.where(valid, loss, torch.zeros_like(loss)).reshape(first.shape)  # (B, T)
        return {"infonce": self.config.scale * loss}

    @staticmethod
    def _predicted(first: Tensor) -> Tensor:
        """(B, T) bool: rows that a state of the same chunk and episode predicted."""
        predicted = ~first
        predicted[:, 0] = False
        return predicted

    def _neighbours(self, first: Tensor) -> Tensor:
        """(N, N) bool: pairs of different rows of one episode that lie close in time."""
        rows, steps = first.shape
        time = torch.arange(steps, device=first.device)  # (T,)
        chunk = torch.arange(rows, device=first.device).unsqueeze(1)  # (B, 1)
        # Episodes are numbered within their chunk; chunks are told apart by a multiple of T + 1.
        episode = (first.long().cumsum(1) + chunk * (steps + 1)).flatten()  # (N,)
        when = time.repeat(rows)  # (N,)
        distance = (when.unsqueeze(0) - when.unsqueeze(1)).abs()  # (N, N)
        close = (distance > 0) & (distance <= self.config.neighbours)
        return close & (episode.unsqueeze(0) == episode.unsqueeze(1))
