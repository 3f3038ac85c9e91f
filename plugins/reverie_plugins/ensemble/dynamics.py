"""Probabilistic ensembles with trajectory sampling: PETS (Chua et al. 2018).

x_{t+1} ~ N(x_t + mean_m(x_t, a_{t+1}), variance_m(x_t, a_{t+1}))     m: the member that a trajectory follows

The state is the embedding itself, which with the encoder `identity` is the (normalised) observation: nothing is
filtered.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.contracts import ActionSpec, Dynamics, Observed, Sampling, View
from reverie.nn import EnsembleMLP, Normal, SquaredError
from reverie_plugins.ensemble.bootstrap import bootstrap_counts
from reverie_plugins.ensemble.config import EnsembleConfig
from reverie_plugins.ensemble.latent import EnsembleLatent

FIRST_BOUNDS = (-10.0, 0.5)
"""Where the bounds of the logarithm of the variance begin (appendix A.1 of the paper, and its code)."""


class Ensemble(Dynamics[EnsembleLatent]):
    """M networks that each predict the change of x, and how sure they are of it.

    The embedding is taken as given: no gradient of the prediction reaches the encoder, which would learn to show what
    is easy to predict. An encoder that has something to learn needs another loss, or comes from a run.
    """

    def __init__(self, config: EnsembleConfig, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.config = config
        self.members = config.members if config.members > 1 else None
        self.continuous = not action.is_discrete
        self.feature_size = self.code_size = embed_size
        outputs = embed_size * (2 if config.probabilistic else 1)
        inputs = embed_size + action.size
        self.net = EnsembleMLP(config.members, inputs, config.units, config.layers, outputs, config.activation)
        if config.probabilistic:
            low, high = FIRST_BOUNDS
            self.min_log_variance = nn.Parameter(torch.full((embed_size,), low))
            self.max_log_variance = nn.Parameter(torch.full((embed_size,), high))

    def initial(self, batch_size: int) -> EnsembleLatent:
        weight = next(self.net.parameters())
        x = weight.new_zeros(batch_size, self.feature_size)  # (B, D)
        return EnsembleLatent(x, torch.zeros(batch_size, dtype=torch.int64, device=x.device))

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        state: EnsembleLatent | None = None,
        *,
        sampling: Sampling,
    ) -> Observed[EnsembleLatent]:
        """The states are the embeddings, each with a member for what is imagined from it: any one where latents are
        drawn, the first with their most likely values. (`branch` hands members out anew.)"""
        B, T = is_first.shape
        start = self.initial(B) if state is None else state
        states = EnsembleLatent(embed, self._any_member((B, T), embed, sampling))
        forget = is_first[..., None]
        before = torch.cat([start.x[:, None], embed[:, :-1]], 1).masked_fill(forget, 0.0)  # (B, T, D)
        member = torch.cat([start.member[:, None], states.member[:, :-1]], 1).masked_fill(is_first, 0)  # (B, T)
        led = action.masked_fill(forget, 0.0)  # (B, T, A)
        priors = self.imagine(EnsembleLatent(before, member).flatten(), led.flatten(0, 1), sampling)  # (B * T,)
        return Observed(states=states, priors=priors.reshape(B, T), train=states, last=states[:, -1])

    def filter(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: EnsembleLatent, *, sampling: Sampling
    ) -> EnsembleLatent:
        member = self._any_member((len(embed), 1), embed, sampling)  # (B, 1), as `observe` draws it
        return EnsembleLatent(embed, member[:, 0])

    def imagine(self, state: EnsembleLatent, action: Tensor, sampling: Sampling) -> EnsembleLatent:
        member = state.member  # (B,)
        if self.config.propagation == "ts1" and sampling.mode == "sample":
            member = self._any_member((len(member), 1), state.x, sampling)[:, 0]
        outputs = self.net.routed(self._inputs(state.x, action), member)  # (B, D or 2 D)
        if sampling.mode == "mode" or not self.config.probabilistic:
            return EnsembleLatent(state.x + outputs[..., : self.feature_size], member)  # (B, D)
        return EnsembleLatent(sampling.draw(self._predicted(state.x, outputs)), member)

    def branch(self, state: EnsembleLatent, n: int) -> EnsembleLatent:
        copies = torch.arange(n, device=state.device).repeat(state.batch_shape[0])  # (B * n,): 0..n-1, 0..n-1, ...
        return replace(state.repeat(n), member=copies % self.config.members)

    def predictions(self, state: EnsembleLatent, action: Tensor) -> Normal | SquaredError:
        """What every member says: (B,) states and (B, A) actions -> a distribution with batch shape (M, B)."""
        return self._predicted(state.x, self.net.forward(self._inputs(state.x, action)))

    def disagreement(self, state: EnsembleLatent, action: Tensor) -> Tensor:
        """(B,): the standard deviation of the members' means, root mean square over the numbers of x.

        The epistemic part of the uncertainty: it vanishes where there are data enough, whatever the noise. A planner
        sees it through its particles, which follow different members (`risk`).
        """
        return self.predictions(state, action).mean.var(0, unbiased=False).mean(-1).sqrt()

    def losses(self, view: View) -> dict[str, Tensor]:
        """`prediction`: -log p(x_t | x_{t-1}, a_t), summed over numbers and over members, each on the data set of its
        own; 0 where there is no transition. `bounds`: keeps the variance's bounds as close as the data allow.

        Without variances `prediction` is half the squared error.
        """
        config, x = self.config, view.embed.detach()  # (B, T, D)
        B, T = view.shape
        before, after, action = x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1), view.batch.action[:, 1:].flatten(0, 1)
        predicted = self._predicted(before, self.net.forward(self._inputs(before, action)))
        loss = -predicted.log_prob(after.expand(config.members, *after.shape))  # (M, B * (T - 1))
        if config.bootstrap and config.members > 1:
            loss = loss * bootstrap_counts(view.batch.step_id[:, 1:].flatten(), config.members).to(loss)
        summed = loss.sum(0).reshape(B, T - 1).masked_fill(view.batch.is_first[:, 1:], 0.0)
        terms = {"prediction": F.pad(summed, (1, 0))}  # (B, T)
        if config.probabilistic:
            apart = (self.max_log_variance - self.min_log_variance).sum()
            terms["bounds"] = (config.bound_scale * apart).expand(B, T)
        return terms

    def _inputs(self, x: Tensor, action: Tensor) -> Tensor:
        """(*B, D), (*B, A) -> (*B, D + A). Draws of an actor may leave the bounds that the environment clips to: the
        model is shown what would be executed, while the gradient still passes."""
        if self.continuous and not torch.is_grad_enabled():
            action = action.clamp(-1.0, 1.0)
        elif self.continuous:
            action = action / action.detach().abs().clamp_min(1.0)
        return torch.cat((x, action), -1)

    def _predicted(self, x: Tensor, outputs: Tensor) -> Normal | SquaredError:
        """(*B, D) and outputs (*B, D or 2 D), perhaps with members before *B -> the next x."""
        if not self.config.probabilistic:
            return SquaredError(x + outputs, 1, 0.5)
        change, log_variance = outputs.chunk(2, -1)  # each (*B, D)
        high = self.max_log_variance - F.softplus(self.max_log_variance - log_variance)
        bounded = self.min_log_variance + F.softplus(high - self.min_log_variance)
        return Normal(x + change, (0.5 * bounded).exp(), 1)

    def _any_member(self, shape: tuple[int, int], like: Tensor, sampling: Sampling) -> Tensor:
        """(B, T) int64: each member as often as another; the first one where nothing is drawn."""
        if sampling.mode == "mode" or self.members is None:
            return torch.zeros(shape, dtype=torch.int64, device=like.device)
        noise = sampling.rand(shape, device=like.device)
        return (noise * self.members).long().clamp_max(self.members - 1)
