"""The learner `encoder_alignment`: new eyes for a world that is already known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from reverie.contracts import AgentParts, Context, Learner, Sampling, Transition, View
from reverie.nn import adam, nll

if TYPE_CHECKING:
    from reverie_plugins.perception.config import EncoderAlignmentConfig


class EncoderAlignment(Learner):
    """Finds the encoder under which a known dynamics and a known reward explain what happens.

    What an embedding means was settled when dynamics and heads were learned; nothing shows it for the new observations.
    But only under the right encoder does each embedding lead, by the action that was taken, to the next one, and earn
    the reward that came. For embeddings x_t of real steps, with the mean m of the known dynamics:

        loss = |x_{t+1} - m(x_t, a_t)|^2 / (2 s^2) - log p(r_t | x_t, a_t, x_{t+1})

    A known dynamics is sharp, and far from the answer its gradient leads nowhere but to a point in which all
    observations meet. So the prediction is judged with a blur at first: the deviation s falls from `blur` to `sharp`.

    Losses: `prediction` and `reward`, each (B, T), 0 where an episode begins.
    """

    config: EncoderAlignmentConfig

    def __init__(self, config: EncoderAlignmentConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self._stepped = self.trained(agent)

    def optimizers(self) -> Sequence[Optimizer]:
        return [adam(self._stepped, self.config.lr)]

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        agent, head = ctx.agent, ctx.agent.heads["reward"]
        states = view.observed.states  # (B, T), with the encoder's graph
        B, T = view.shape
        before, after, action = (
            states[:, :-1].flatten(),
            states[:, 1:].flatten(),
            view.batch.action[:, 1:].flatten(0, 1),
        )
        going = (~view.batch.is_first[:, 1:]).flatten()  # (B * (T - 1),)
        s = self.deviation(ctx.counters.updates)
        ctx.log("deviation", s)
        with ctx.frozen(self.config.reaches):
            expected = agent.dynamics.imagine(before, action, Sampling(mode="mode"))
            apart = (after.code - expected.code).square().sum(-1) / (2 * s**2)
            rewards = nll(
                head(Transition(before=before, action=action, after=after)),
                view.batch.reward[:, 1:].flatten(),
                head.members,
            )
        return {"prediction": _padded(apart * going, B, T), "reward": _padded(rewards * going, B, T)}

    def deviation(self, updates: int) -> float:
        """s after so many updates of the run."""
        config = self.config
        return config.sharp + (config.blur - config.sharp) * max(0.0, 1 - updates / config.updates)


def _padded(loss: Tensor, B: int, T: int) -> Tensor:
    """(B * (T - 1),) of what led to steps 1 to T - 1 -> (B, T), 0 at step 0."""
    return torch.nn.functional.pad(loss.reshape(B, T - 1), (1, 0))
