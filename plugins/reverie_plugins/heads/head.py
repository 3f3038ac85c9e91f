"""The heads: one network, three distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Distribution, Head, Transition
from reverie.nn import Bernoulli, LatentMLP, SymlogSquaredError, TwoHot, make_bins, normal
from reverie_plugins.heads.config import BernoulliConfig, GaussianConfig, HeadConfig, TwoHotConfig


class _MLPHead(Head):
    """A network over the parts of a transition that `reads` names."""

    def __init__(
        self, config: HeadConfig, feature_size: int, action: ActionSpec, outputs: int, zero_output: bool = False
    ) -> None:
        super().__init__(config, feature_size, action)
        self.reads = config.reads
        inputs = {"after": 0, "before_action": action.size, "transition": action.size + feature_size}[config.reads]
        self.net = LatentMLP(
            feature_size,
            config.units,
            config.layers,
            outputs,
            config.norm,
            config.activation,
            zero_output=zero_output,
            inputs=inputs,
        )

    def outputs(self, transition: Transition) -> Tensor:
        """(*B, outputs) of the network."""
        before, action, after = transition.before, transition.action, transition.after
        if self.reads == "after" and after is not None:
            return self.net.forward(after)
        if self.reads == "before_action" and before is not None and action is not None:
            return self.net.forward(before, action)
        if before is None or action is None or after is None:
            raise ValueError(f"a head with `reads: {self.reads}` was given a transition without the parts it reads")
        return self.net.forward(after, torch.cat((action, before.features), -1))


class TwoHotHead(_MLPHead):
    """A number as a distribution over bins (DreamerV3, section 3; notes 12 and 18)."""

    bins: Tensor

    def __init__(self, config: TwoHotConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action, config.bins, config.zero_init)
        self.variant = config.variant
        bins = make_bins(config.variant, config.bins, config.low, config.high)  # (bins,)
        self.register_buffer("bins", bins, persistent=False)

    def forward(self, transition: Transition) -> Distribution:
        return TwoHot(self.outputs(transition), self.bins, self.variant)


class GaussianHead(_MLPHead):
    """A normal of fixed variance around the network's output (PlaNet, section 3)."""

    def __init__(self, config: GaussianConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action, 1, config.zero_init)
        self.std, self.symlog = config.std, config.symlog

    def forward(self, transition: Transition) -> Distribution:
        mean = self.outputs(transition).squeeze(-1)  # (*B)
        if self.symlog:
            return SymlogSquaredError(mean, 0, 0.5 / self.std**2)
        return normal(mean, self.std, 0)


class BernoulliHead(_MLPHead):
    """A probability: `mean` is that of 1 (note 4: the target is 0 only where the task truly ended)."""

    def __init__(self, config: BernoulliConfig, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action, 1)

    def forward(self, transition: Transition) -> Distribution:
        return Bernoulli(self.outputs(transition).squeeze(-1))
