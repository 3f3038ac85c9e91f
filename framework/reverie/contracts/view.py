"""A batch, extended lazily by what the agent makes of it, once for all learners of a tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reverie.contracts.batch import Batch
from reverie.contracts.freezing import thawed
from reverie.contracts.latent import Latent
from reverie.contracts.model import Encoder, Observed, Reads, Transition
from reverie.contracts.sampling import Distribution, Sampling

if TYPE_CHECKING:
    from reverie.contracts.agent import AgentParts


class View:
    """What learners, objectives and `Dynamics.losses` read.

    Each property is computed on first use and then shared: a stage that never asks for `observed` never runs the
    dynamics. Everything is computed with gradients, outside any `frozen` or `no_grad` in force.

    Args:
        batch: (B, T) raw experience.
        agent: its encoder and dynamics are used.
        sampling: the noise of the filtering pass.
        carried: (B,) latent states before the chunk; None starts every chunk fresh.
    """

    def __init__(self, batch: Batch, agent: AgentParts, sampling: Sampling, carried: Latent | None = None) -> None:
        self.batch = batch
        self.agent = agent
        self.sampling = sampling
        self._carried = carried
        self._obs: dict[str, Tensor] | None = None
        self._posterior: Distribution | None = None
        self._embed: Tensor | None = None
        self._observed: Observed[Any] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.batch.shape

    @property
    def obs(self) -> dict[str, Tensor]:
        """Preprocessed entries, (B, T, *model_shape): what encoders read and decoders predict."""
        if self._obs is None:
            with thawed():
                self._obs = self.agent.preprocess(self.batch.obs)
        return self._obs

    @property
    def posterior(self) -> Distribution:
        """The encoder's distribution over the embedding, batch shape (B, T)."""
        if self._posterior is None:
            with thawed():
                self._posterior = self.agent.encoder.posterior(self.obs)
        return self._posterior

    @property
    def embed(self) -> Tensor:
        """(B, T, E): a draw of `posterior` where the encoder has one."""
        if self._embed is None:
            obs = self.obs
            with thawed():
                if type(self.agent.encoder).posterior is not Encoder.posterior:
                    self._embed = self.sampling.draw(self.posterior)
                else:
                    self._embed = self.agent.encoder(obs, self.sampling)
        return self._embed

    @property
    def observed(self) -> Observed[Any]:
        """The filtering pass over the chunk."""
        if self._observed is None:
            embed = self.embed
            with thawed():
                self._observed = self.agent.dynamics.observe(
                    embed, self.batch.action, self._fresh(), self._carried, sampling=self.sampling
                )
        return self._observed

    def _fresh(self) -> Tensor:
        """(B, T) where filtering starts anew. A chunk without a carried state begins like an episode: the action that
        led to its first observation started from a state that nobody knows, so it is forgotten too."""
        if self._carried is not None:
            return self.batch.is_first
        fresh = self.batch.is_first.clone()
        fresh[:, 0] = True
        return fresh

    def transition(self, reads: Reads) -> Transition:
        """What a head with this `reads` sees at each (b, t), all with batch shape (B, T).

        `before` at t is the trained state at t-1; it means nothing where `valid` is false (t = 0 and episode starts).
        """
        after: Latent = self.observed.train
        if reads == "after":
            return Transition(before=None, action=None, after=after)
        first = torch.zeros_like(self.batch.is_first)
        first[:, 0] = True
        before = type(after).cat([after[:, :1], after[:, :-1]], dim=1)
        valid = ~(self.batch.is_first | first)
        return Transition(
            before=before,
            action=self.batch.action,
            after=after if reads == "transition" else None,
            valid=valid,
        )

    def encoded(self) -> View:
        """The same batch with the embedding cut from the graph and the filtering still to be done: what a learner reads
        that trains a dynamics and leaves the encoder alone. The frames are encoded once for both views."""
        view = View(self.batch, self.agent, self.sampling, self._carried)
        view._obs, view._embed = self.obs, self.embed.detach()
        return view

    def afresh(self) -> View:
        """The same batch as the agent sees it now: for learners that come after its weights moved."""
        view = View(self.batch, self.agent, self.sampling, self._carried)
        view._obs = self._obs
        return view

    def detach(self) -> View:
        """The same view cut from the graph, for learners with a backward of their own.

        Lazy like the view itself: what it is asked for is computed here, once for both, and what nobody asks for never
        is. The pass that computes it has a graph where parameters ask for one, so that the other view may use it.
        """
        return _Detached(self)


class _Detached(View):
    """Reads through to another view and cuts what it finds."""

    def __init__(self, view: View) -> None:
        super().__init__(view.batch, view.agent, view.sampling, view._carried)
        self._whole = view

    @property
    def obs(self) -> dict[str, Tensor]:
        return self._whole.obs

    @property
    def posterior(self) -> Distribution:
        if self._posterior is None:
            with torch.no_grad():
                self._posterior = self.agent.encoder.posterior(self.obs)
        return self._posterior

    @property
    def embed(self) -> Tensor:
        if self._embed is None:
            self._embed = self._whole.embed.detach()
        return self._embed

    @property
    def observed(self) -> Observed[Any]:
        if self._observed is None:
            observed = self._whole.observed
            self._observed = Observed(
                states=observed.states.detach(),
                priors=observed.priors.detach(),
                train=observed.train.detach(),
                last=observed.last.detach(),
            )
        return self._observed
