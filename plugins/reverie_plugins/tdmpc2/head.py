"""Q values by several heads (TD-MPC2, section 3.1 and appendix H)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Head, Sampling, Transition
from reverie.nn import NormedEnsembleMLP, SlowCopy, TwoHot, make_bins
from reverie_plugins.tdmpc2.config import QEnsembleConfig


class QEnsemble(Head):
    """M distributions over the value of a state and an action; two-hot in symlog space (note 12)."""

    bins: Tensor
    members: int

    def __init__(self, config: QEnsembleConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        self.reads = "before_action"
        self.members, self.dropout, self.units = config.members, config.dropout, config.units
        self.net = NormedEnsembleMLP(
            config.members,
            feature_size + action.size,
            config.units,
            config.layers,
            config.bins,
            config.activation,
            zero_output=config.zero_init,
        )
        self.register_buffer("bins", make_bins("symlog_linear", config.bins, config.low, config.high), persistent=False)

    def forward(self, transition: Transition, members: Tensor | None = None, dropout: Sampling | None = None) -> TwoHot:
        """Batch shape (*B, M).

        Args:
            members: (K,) indices of the heads that are asked; the answer has K in place of M.
            dropout: noise to leave units out by (of all heads); None leaves all in, as everywhere but in training.
        """
        if transition.before is None or transition.action is None:
            raise ValueError("head `q_ensemble` reads the state before and the action, and the transition lacks one")
        x = torch.cat((transition.before.features, transition.action), -1)  # (*B, F + A)
        keep = None if dropout is None or not self.dropout else self._keep(x, dropout)
        return TwoHot(self.net.forward(x, members, keep), self.bins, "symlog_linear")

    def _keep(self, x: Tensor, noise: Sampling) -> Tensor:
        """(*B, M, units): 0 where a unit is left out, else 1 / (1 - dropout)."""
        drawn = noise.rand((*x.shape[:-1], self.members, self.units), device=x.device)
        return (drawn >= self.dropout).to(x.dtype) / (1 - self.dropout)


def values(head: Head | SlowCopy, transition: Transition, chosen: Tensor) -> Tensor:
    """(*B, K): what the chosen members (K,) of a Q head expect. Any head with members will do; one without has one
    answer."""
    own: Any = head.module if isinstance(head, SlowCopy) else head
    if isinstance(own, QEnsemble):
        mean: Tensor = head(transition, chosen).mean
        return mean
    mean = head(transition).mean
    return mean.unsqueeze(-1) if own.members is None else mean[..., chosen]


def two_of(members: int | None, sampling: Sampling, device: torch.device) -> Tensor:
    """(2,) distinct members at random, the same for the whole batch and on all ranks; all of them where there are no
    more than two."""
    if members is None or members <= 2:
        return torch.arange(members or 1, device=device)
    alone = Sampling(generators=sampling.generators)
    return alone.rand((1, members), device=device)[0].topk(2).indices
