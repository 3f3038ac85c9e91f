"""The MDN-RNN (Ha and Schmidhuber 2018, section 2.2).

h_t, c_t = LSTM([z_{t-1}, action_t], h_{t-1}, c_{t-1})        z_t ~ mixture(h_t)

In arrival alignment `action_t` is the one that led to z_t, so h_t is what the paper calls h before its update by the
next action: the controller that acts at t sees [z_t, h_t] (note 27).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reverie.contracts import ActionSpec, Dynamics, Observed, Sampling, View
from reverie.nn import affine, linear
from reverie_plugins.mdn_rnn.config import MDNRNNConfig
from reverie_plugins.mdn_rnn.latent import CodeLatent, MDNLatent
from reverie_plugins.mdn_rnn.mixture import NormalMixture


class MDNRNN(Dynamics[MDNLatent]):
    """The embedding of an observation is its code z; an LSTM predicts the next one.

    An episode begins with h = c = 0, no code and no action. The encoder draws z anew in every pass (note 25); the
    target of the likelihood is cut from the graph, so that an encoder that is trained together with it does not
    collapse onto what is easy to predict.
    """

    def __init__(self, config: MDNRNNConfig, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.config = config
        self.continuous = not action.is_discrete
        self.embed_size = embed_size
        self.code_size = embed_size
        self.feature_size = embed_size + (config.hidden if config.features == "z_and_h" else 0)
        self.latent: type[MDNLatent] = MDNLatent if config.features == "z_and_h" else CodeLatent
        self.cell = nn.LSTMCell(embed_size + action.size, config.hidden)
        with torch.no_grad():  # a fresh cell remembers (Jozefowicz et al. 2015)
            self.cell.bias_ih[config.hidden : 2 * config.hidden] += 1.0
        self.outputs = linear(config.hidden, 3 * embed_size * config.components)

    def initial(self, batch_size: int) -> MDNLatent:
        weight = self.outputs.weight
        h = weight.new_zeros(batch_size, self.config.hidden)  # (B, H)
        return self.latent(weight.new_zeros(batch_size, self.embed_size), h, h)

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: MDNLatent | None = None, *, sampling: Sampling
    ) -> Observed[MDNLatent]:
        start = self.initial(len(is_first)) if state is None else state
        before = self._before(embed, is_first, start.z)  # (B, T, Z)
        forget = is_first.unsqueeze(-1)  # (B, T, 1)
        inputs = torch.cat((before, self._legal(action).masked_fill(forget, 0.0)), -1).unbind(1)  # T x (B, Z + A)
        h, c = start.h, start.c  # (B, H)
        outputs, cells = [], []
        for begins, forget_t, input_t in zip(is_first.any(0).tolist(), forget.unbind(1), inputs, strict=True):
            if begins:
                h, c = h.masked_fill(forget_t, 0.0), c.masked_fill(forget_t, 0.0)
            h, c = self.cell(input_t, (h, c))
            outputs.append(h)
            cells.append(c)
        hs, cs = torch.stack(outputs, 1), torch.stack(cells, 1)  # (B, T, H)
        states = self.latent(embed, hs, cs)
        priors = self.latent(sampling.draw(self.mixture(hs, before)), hs, cs)
        return Observed(states=states, priors=priors, train=states, last=states[:, -1])

    def filter(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: MDNLatent, *, sampling: Sampling
    ) -> MDNLatent:
        forget = is_first.unsqueeze(-1)  # (B, 1)
        z, h, c = (value.masked_fill(forget, 0.0) for value in (state.z, state.h, state.c))
        h, c = self.cell(torch.cat((z, self._legal(action).masked_fill(forget, 0.0)), -1), (h, c))
        return self.latent(embed, h, c)

    def imagine(self, state: MDNLatent, action: Tensor, sampling: Sampling) -> MDNLatent:
        h, c = self.cell(torch.cat((state.z, self._legal(action)), -1), (state.h, state.c))  # (B, H)
        return self.latent(sampling.draw(self.mixture(h, state.z)), h, c)

    def losses(self, view: View) -> dict[str, Tensor]:
        """`nll`: -log p(z_t | h_t), summed over the code; 0 where an episode or a chunk begins, which nothing
        predicts."""
        states: MDNLatent = view.observed.states
        is_first = view.batch.is_first.clone()
        is_first[:, 0] = True
        z = states.z.detach()  # (B, T, Z)
        nll = -self.mixture(states.h, self._before(z, is_first, z[:, 0])).log_prob(z)  # (B, T)
        return {"nll": nll * (~is_first).to(nll.dtype)}

    def mixture(self, h: Tensor, before: Tensor) -> NormalMixture:
        """(*B, H) and the code before (*B, Z) -> the distribution of the next code, batch (*B), event (Z,)."""
        config = self.config
        outputs = affine(self.outputs, h).unflatten(-1, (3, self.embed_size, config.components))  # (*B, 3, Z, K)
        logits, means, log_std = outputs.unbind(-3)  # each (*B, Z, K)
        if config.predicts == "change":
            means = means + before.unsqueeze(-1)
        return NormalMixture(logits, means, log_std.clamp(config.min_log_std, config.max_log_std))

    @staticmethod
    def _before(z: Tensor, is_first: Tensor, start: Tensor) -> Tensor:
        """(B, T, Z): the code one step earlier; `start` (B, Z) at 0, and zeros where an episode begins."""
        shifted = torch.cat((start.unsqueeze(1), z[:, :-1]), 1)
        return shifted.masked_fill(is_first.unsqueeze(-1), 0.0)

    def _legal(self, action: Tensor) -> Tensor:
        """(*B, A): draws of an actor may leave the bounds that the environment clips to; the model is shown what would
        be executed, while the gradient still passes."""
        return action / action.detach().abs().clamp_min(1.0) if self.continuous else action
