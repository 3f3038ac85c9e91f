"""The recurrent state-space model (Hafner et al. 2019, 2020, 2021, 2023).

deter_t = GRU(deter_{t-1}, [stoch_{t-1}, action_t])     prior: stoch_t ~ p(. | deter_t)
                                                    posterior: stoch_t ~ q(. | deter_t, embed_t)

Which GRU, and from which state an episode begins, are options: the versions of the papers differ in both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reverie.contracts import ActionSpec, Dynamics, Observed, Sampling, View
from reverie.nn import (
    MLP,
    BlockGRU,
    GRUCell,
    Norm,
    OneHot,
    Product,
    Scanned,
    StandardGRUCell,
    activate,
    affine,
    affine_onto,
    has_bias,
    kl_balanced,
    kl_joint,
    linear,
)
from reverie.nn.distributions import Normal
from reverie_plugins.rssm.config import RSSMConfig
from reverie_plugins.rssm.latent import Categorical, Gaussian, RSSMLatent


class RSSM(Dynamics[RSSMLatent]):
    """A deterministic recurrent path and a stochastic state that a prior predicts and a posterior corrects.

    What does not depend on the recurrent state is computed for all steps at once: the action's and the embedding's part
    of the layers that read them, and the whole prior, which filtering itself never needs.
    """

    def __init__(self, config: RSSMConfig, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.config = config
        self.continuous = not action.is_discrete
        self.family: Any = (
            Categorical(config.stoch_size, config.classes, config.unimix)
            if config.latent == "categorical"
            else Gaussian(config.stoch_size, config.min_std)
        )
        plain, hidden = has_bias(config.norm), config.hidden
        if config.blocks > 1:
            self.core: BlockGRU | None = BlockGRU(
                config.deter, self.family.size, action.size, hidden, config.blocks, config.norm, config.activation
            )
        else:
            self.core = None
            self.stoch_in = linear(self.family.size, hidden, bias=False)
            self.action_in = linear(action.size, hidden, bias=plain)
            self.input_norm = Norm(hidden, config.norm)
            self.cell: GRUCell | StandardGRUCell = (
                StandardGRUCell(hidden, config.deter)
                if config.cell == "standard"
                else GRUCell(hidden, config.deter, config.norm)
            )
        layers = config.prior_layers or config.layers
        self.prior = MLP(config.deter, hidden, layers, self.family.outputs, config.norm, config.activation)
        self.start = nn.Parameter(torch.zeros(config.deter)) if config.initial == "learned" else None
        self.deter_in = linear(config.deter, hidden, bias=False)
        self.embed_in = linear(embed_size, hidden, bias=plain)
        self.posterior_norm = Norm(hidden, config.norm)
        self.posterior = MLP(hidden, hidden, config.layers - 1, self.family.outputs, config.norm, config.activation)
        self.feature_size = self.code_size = config.deter + self.family.size

    def initial(self, batch_size: int) -> RSSMLatent:
        return self._fresh(batch_size).detach()

    def _fresh(self, batch_size: int) -> RSSMLatent:
        """(B,) states of beginning episodes; where they are learned, with the graph of the deterministic part."""
        if self.start is None:
            latent: RSSMLatent = self.family.initial(self.deter_in.weight.new_zeros(batch_size, self.config.deter))
            return latent
        deter = torch.tanh(self.start).expand(batch_size, -1)  # (B, D)
        with torch.no_grad():
            prior = self._prior(deter, None, Sampling(mode="mode"))
        return replace(prior, deter=deter)

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        state: RSSMLatent | None = None,
        *,
        sampling: Sampling,
    ) -> Observed[RSSMLatent]:
        rows = len(is_first)
        start = self._fresh(rows) if state is None else state
        deter, stoch = start.deter, start.stoch.flatten(1)  # (B, D), (B, S)
        fresh = None if self.start is None else self._fresh(1)  # what forgetting leaves where it is not zero
        forget = is_first.unsqueeze(-1)  # (B, T, 1)
        actions = self._project_action(action.masked_fill(forget, 0.0))  # (B, T, hidden)
        step = FilterStep(self, actions, self.embed_in(embed))
        deters, stochs, parameters, spare = [], [], [], []
        forgets = is_first.any(0).tolist()  # T x bool: at most steps nothing begins, and nothing has to be cleared
        for forgets_t, forget_t in zip(forgets, forget.unbind(1), strict=True):
            # Noise is drawn step by step so that a chunk observed in parts gives the numbers of the whole.
            noise = self.family.noise(sampling, rows, 2, deter)  # (B, 2, G), or None
            if forgets_t:
                deter, stoch = _forgotten(deter, stoch, forget_t, fresh)
            deter = step.advance(deter, stoch)
            posterior = step.posterior(deter)
            drawn = self._draw(posterior, None if noise is None else noise[:, 0], sampling)  # (B, G) or (B, S)
            stoch = self.family.vector(drawn, posterior)  # (B, S)
            deters.append(deter)
            stochs.append(drawn)
            parameters.append(self.family.parameters(posterior))
            if noise is not None:
                spare.append(noise[:, 1])
        deters_all = torch.stack(deters, 1)  # (B, T, D)
        stacked = [torch.stack(column, 1) for column in zip(*parameters, strict=True)]  # each (B, T, ...)
        states = self.family.latent(deters_all, torch.stack(stochs, 1), stacked)
        priors = self._prior(deters_all, torch.stack(spare, 1) if spare else None, sampling)
        last = self.family.latent(deter, drawn, parameters[-1])
        return Observed(states=states, priors=priors, train=states, last=last)

    def filter(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: RSSMLatent, *, sampling: Sampling
    ) -> RSSMLatent:
        deter, stoch, forget = state.deter, state.stoch.flatten(1), is_first.unsqueeze(-1)  # (B, D), (B, S), (B, 1)
        noise = self.family.noise(sampling, action.shape[0], 2, deter)  # (B, 2, G), as `observe` draws it
        if is_first.any():
            action = action.masked_fill(forget, 0.0)  # (B, A)
            deter, stoch = _forgotten(deter, stoch, forget, None if self.start is None else self._fresh(1))
        deter = self._advance(deter, stoch, self._project_action(action))
        posterior = self._posterior(affine_onto(affine(self.embed_in, embed), self.deter_in, deter))
        drawn = self._draw(posterior, None if noise is None else noise[:, 0], sampling)  # (B, G) or (B, S)
        latent: RSSMLatent = self.family.latent(deter, drawn, self.family.parameters(posterior))
        return latent

    def imagine(self, state: RSSMLatent, action: Tensor, sampling: Sampling) -> RSSMLatent:
        projected = self._project_action(action)  # (B, hidden)
        if self.core is not None:
            deter = self.core.forward(state.deter, state.stoch.flatten(1), projected)  # (B, D)
        else:
            deter = self._step(state.deter, state.onto(projected, self.stoch_in))  # (B, D)
        noise = self.family.noise(sampling, action.shape[0], 1, deter)  # (B, 1, G), or None
        return self._prior(deter, None if noise is None else noise[:, 0], sampling)

    def fan(self, state: RSSMLatent, n: int, action: Tensor, sampling: Sampling) -> RSSMLatent:
        if self.core is not None:
            return super().fan(state, n, action, sampling)
        stoch = affine(self.stoch_in, state.stoch.flatten(1))  # (B, hidden)
        joined = self._project_action(action) + stoch.repeat_interleave(n, 0)  # (B * n, hidden)
        inputs = activate(self.config.activation, self.input_norm.forward(joined))  # (B * n, hidden)
        carried = self.cell.carried(state.deter).repeat_interleave(n, 0)  # (B * n, 3 * D)
        deter = self.cell.forward(inputs, state.deter.repeat_interleave(n, 0), carried)  # (B * n, D)
        noise = self.family.noise(sampling, action.shape[0], 1, deter)  # (B * n, 1, G), or None
        return self._prior(deter, None if noise is None else noise[:, 0], sampling)

    def losses(self, view: View) -> dict[str, Tensor]:
        """`kl_dyn` and `kl_rep` (free: each), or `kl`; see `reverie.nn.kl` for the formulas.

        With `free: mean` the floor is decided by the mean over the whole batch of all ranks, so that single entries of
        the (B, T) answer mean nothing: only their mean does.
        """
        observed, kl = view.observed, self.config.kl
        posterior, prior = observed.states.distribution, observed.priors.distribution
        if kl.free == "each":
            dyn, rep = kl_balanced(posterior, prior, dyn=kl.dyn, rep=kl.rep, free_nats=kl.free_nats)
            return {"kl_dyn": dyn, "kl_rep": rep}
        joint = kl_joint(posterior, prior, scale=kl.scale, free_nats=kl.free_nats, floor=kl.free, balance=kl.balance)
        return {"kl": joint}

    def _project_action(self, action: Tensor) -> Tensor:
        """(*B, A) -> (*B, hidden). Draws of an actor may leave the bounds that the environment clips to: the model is
        shown what would be executed, while the gradient still passes (DreamerV3's code)."""
        if self.continuous:
            action = action / action.detach().abs().clamp_min(1.0)
        if self.core is not None:
            return self.core.project(action)
        return affine(self.action_in, action)

    def _advance(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """(B, D), (B, S) and the projected action (B, hidden) -> the next deter (B, D)."""
        if self.core is not None:
            return self.core.forward(deter, stoch, action)
        return self._step(deter, affine_onto(action, self.stoch_in, stoch))

    def _step(self, deter: Tensor, joined: Tensor, product: Product | None = None) -> Tensor:
        """(B, D) and what stoch and action give together (B, hidden) -> the next deter (B, D)."""
        inputs = activate(self.config.activation, self.input_norm.forward(joined))  # (B, hidden)
        return self.cell.forward(inputs, deter, product=product)

    def _posterior(self, joined: Tensor, product: Product | None = None) -> OneHot | Normal:
        """What deter and embedding give together (B, hidden) -> q(stoch)."""
        hidden = activate(self.config.activation, self.posterior_norm.forward(joined))  # (B, hidden)
        distribution: OneHot | Normal = self.family.distribution(self.posterior.forward(hidden, product))
        return distribution

    def _prior(self, deter: Tensor, noise: Tensor | None, sampling: Sampling) -> RSSMLatent:
        """(*B, D) and noise (*B, G) -> a state whose stoch is a draw of p(stoch | deter)."""
        distribution = self.family.distribution(self.prior.forward(deter))
        drawn = self._draw(distribution, noise, sampling)  # (*B, G) or (*B, S)
        latent: RSSMLatent = self.family.latent(deter, drawn, self.family.parameters(distribution))
        return latent

    def _draw(self, distribution: OneHot | Normal, noise: Tensor | None, sampling: Sampling) -> Tensor:
        """What a latent keeps of its draw: (*B, G) classes or (*B, S) numbers."""
        drawn: Tensor = self.family.draw(distribution, noise, sampling.temperature)
        return drawn


class FilterStep:
    """The step that filtering takes T times, with the weight gradients of its layers made once for all steps.

    Args:
        model: its layers are used.
        actions, embeds: (B, T, hidden), projected.
    """

    def __init__(self, model: RSSM, actions: Tensor, embeds: Tensor) -> None:
        self.model = model
        self.deter_in = Scanned(model.deter_in, embeds)
        assert model.posterior.output is not None
        self.outputs = Scanned.alone(model.posterior.output, embeds)
        self.actions = iter(actions.unbind(1)) if model.core is not None else None  # T x (B, hidden)
        if model.core is None:
            self.stoch_in = Scanned(model.stoch_in, actions)
            cell = model.cell
            self.gates = Scanned.alone(cell.linear if isinstance(cell, GRUCell) else cell.recurrent, embeds)

    def advance(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """(B, D), (B, S) -> the next deter (B, D)."""
        core = self.model.core
        if core is not None and self.actions is not None:
            return core.forward(deter, stoch, next(self.actions))
        return self.model._step(deter, self.stoch_in(stoch), self.gates)

    def posterior(self, deter: Tensor) -> OneHot | Normal:
        """(B, D) -> q(stoch)."""
        return self.model._posterior(self.deter_in(deter), self.outputs)


def _forgotten(deter: Tensor, stoch: Tensor, forget: Tensor, fresh: RSSMLatent | None) -> tuple[Tensor, Tensor]:
    """(B, D) and (B, S) with the rows of `forget` (B, 1) as an episode begins: zeros, or the learned `fresh` (1,)."""
    if fresh is None:
        return deter.masked_fill(forget, 0.0), stoch.masked_fill(forget, 0.0)
    return torch.where(forget, fresh.deter, deter), torch.where(forget, fresh.stoch.flatten(1), stoch)
