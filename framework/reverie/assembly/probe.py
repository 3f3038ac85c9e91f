"""One synthetic batch through every part, before anything is trained: what declarations cannot show."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reverie.assembly.agent import Agent
from reverie.assembly.build import NobodyActs
from reverie.assembly.rehearsal import Rehearsal, distinct_sizes, synthetic_batch
from reverie.contracts.latent import Latent
from reverie.contracts.learner import Learner
from reverie.contracts.sampling import Sampling
from reverie.contracts.view import View
from reverie.errors import Problem
from reverie.nn import SlowCopy, averages

if TYPE_CHECKING:
    from reverie.recipes.recipe import Recipe


def probe(recipe: Recipe, agent: Agent, learners: Mapping[str, Learner]) -> list[Problem]:
    """Send a batch of B x T synthetic rows through a copy of the agent and of each learner.

    Checks shapes (B, T and the number of members are distinct, so that nothing broadcasts in silence), that every
    learner alone gives finite losses with a gradient, and that its gradient stays within `trains` and `reaches`.
    Neither the agent, nor the learners, nor torch's generator change.

    Returns:
        Every problem that was found; the checks behind a part that fails are left out.
    """
    with torch.random.fork_rng(devices=[]):
        # One copy of both, so that the learners' lists of parameters are those of the copied agent.
        agent, learners = copy.deepcopy((agent, dict(learners)))
        return Probe(recipe, agent, learners).run()


class Probe:
    """One run of the checks, on copies."""

    def __init__(self, recipe: Recipe, agent: Agent, learners: Mapping[str, Learner]) -> None:
        self.recipe, self.agent, self.learners = recipe, agent, learners
        self.problems: list[Problem] = []
        self.sampling = Sampling(generators=[torch.Generator().manual_seed(0)])
        self.B, self.T = distinct_sizes(agent)
        batch = synthetic_batch(agent.observation, agent.action, self.B, self.T)
        self.batch = batch.map(lambda value: value.to(agent.anchor.device))

    def run(self) -> list[Problem]:
        view = View(self.batch, self.agent, self.sampling)
        if self._guarded("encoder", self._encoder, view) and self._guarded("dynamics", self._dynamics, view):
            self._readers(view)
            for name, learner in self.learners.items():
                if type(learner).update is Learner.update:
                    self._guarded(f"learners/{name}", self._learner, name, learner)
                    self._guarded(f"learners/{name}", self._average, name, learner)
        return self.problems

    # -- the model -----------------------------------------------------------------------------------------------

    def _encoder(self, view: View) -> None:
        self._shape("encoder", "its embedding", view.embed, (self.B, self.T, self.agent.encoder.embed_size))

    def _dynamics(self, view: View) -> None:
        dynamics, observed = self.agent.dynamics, view.observed
        for name in ("states", "priors", "train"):
            self._latent(f"`{name}` of observe", getattr(observed, name), (self.B, self.T))
        self._latent("`last` of observe", observed.last, (self.B,))
        action = self.batch.action[:, -1]
        self._latent("imagine", dynamics.imagine(observed.last, action, self.sampling), (self.B,))
        self._latent("branch", dynamics.branch(observed.last, 2), (2 * self.B,))

    def _latent(self, what: str, latent: Latent, shape: tuple[int, ...]) -> None:
        dynamics = self.agent.dynamics
        self._shape("dynamics", f"{what}: batch_shape", latent.batch_shape, shape)
        self._shape("dynamics", f"{what}: features", latent.features, (*shape, dynamics.feature_size))
        self._shape("dynamics", f"{what}: code", latent.code, (*shape, dynamics.code_size))

    # -- what reads the latent -----------------------------------------------------------------------------------

    def _readers(self, view: View) -> None:
        agent = self.agent
        single = {"decoder": agent.decoder} if agent.decoder is not None else {}
        for slot, decoder in {**single, **{f"decoders/{name}": one for name, one in agent.decoders.items()}}.items():
            self._guarded(slot, self._decoder, slot, decoder, view)
        for name, head in agent.heads.items():
            self._guarded(f"heads/{name}", self._head, f"heads/{name}", head, view)
        if agent.actor is not None:
            self._guarded("actor", self._actor, view)
        if not isinstance(agent.planner, NobodyActs):
            self._guarded("planner", self._planner, view)

    def _decoder(self, slot: str, decoder: Any, view: View) -> None:
        code = view.embed if decoder.reads == "embed" else view.observed.train.code
        for key, distribution in decoder(code).items():
            if key not in view.obs:
                self._report(slot, f"it predicts '{key}', which is no entry of the observation", "predict its entries")
                continue
            self._shape(slot, f"log_prob of '{key}'", distribution.log_prob(view.obs[key]), (self.B, self.T))

    def _head(self, slot: str, head: Any, view: View) -> None:
        distribution = head(view.transition(head.reads))
        shape = (self.B, self.T) if head.members is None else (self.B, self.T, head.members)
        self._shape(slot, "its batch_shape", distribution.batch_shape, shape)
        self._shape(slot, "its mean", distribution.mean, shape)

    def _actor(self, view: View) -> None:
        actor, last, size = self.agent.actor, view.observed.last, self.agent.action.size
        assert actor is not None
        policy = actor.policy(last)
        drawn = self.sampling.draw(policy)
        self._shape("actor", "a draw of its policy", drawn, (self.B, size))
        self._shape("actor", "log_prob of its draw", policy.log_prob(drawn.detach()), (self.B,))

    def _planner(self, view: View) -> None:
        agent, n = self.agent, min(2, self.B)
        latent = view.observed.last[:n].detach()
        carry = agent.planner.initial(n)
        with torch.no_grad():
            action, after = agent.planner.plan(latent, carry, agent.imagination, explore=False, sampling=self.sampling)
        self._shape("planner", "its action", action, (n, agent.action.size))
        if not bool(torch.isfinite(action).all()):
            self._report("planner", "its action is not finite on a fresh model")
        if {key: value.shape for key, value in after.items()} != {key: value.shape for key, value in carry.items()}:
            self._report("planner", "its memory after planning has other entries or shapes than `initial`")

    # -- learners ------------------------------------------------------------------------------------------------

    def _learner(self, name: str, learner: Learner) -> None:
        """One learner alone: its losses, and where its gradient goes."""
        slot = f"learners/{name}"
        self.agent.zero_grad(set_to_none=True)
        view = View(self.batch, self.agent, self.sampling)
        losses = learner.losses(
            view.detach() if learner.own_backward else view,
            Rehearsal(self.agent, self.sampling, self.agent.imagination),
        )
        for key, loss in losses.items():
            if not bool(torch.isfinite(loss).all()):
                self._report(slot, f"its loss '{key}' is not finite on a fresh model")
        terms = [loss.mean() for loss in losses.values() if loss.requires_grad]
        trainable = [
            p for slot in learner.config.trains for p in self.agent.module(slot).parameters() if p.requires_grad
        ]
        if not terms:
            if trainable:
                self._report(
                    slot, "none of its losses depends on a parameter", "let it train a slot that its losses use"
                )
            return
        torch.stack(terms).sum().backward()
        self._gradients(slot, learner)
        if not learner.own_backward:  # which keeps to its own slots, and drops the rest by design
            self._lost(name, learner)

    def _gradients(self, slot: str, learner: Learner) -> None:
        trains, reaches = tuple(learner.config.trains), tuple(learner.config.reaches)
        own = {p for name in trains for p in self.agent.module(name).parameters()}
        strayed = [
            name
            for name in self.agent.slots()
            if name not in (*trains, *reaches) and _has_gradient(self.agent.module(name), own)
        ]
        if strayed:
            names = ", ".join(strayed)
            self._report(
                slot,
                f"its gradient enters {names}, which it neither trains nor reaches",
                f"add {names} to `trains` or `reaches`, or cut the graph before (`view.detach()`, `ctx.frozen(...)`)",
                f"it trains {', '.join(trains) or 'nothing'} and reaches {', '.join(reaches) or 'nothing else'}",
            )
        for name in trains:
            parameters = [p for p in self.agent.module(name).parameters() if p.requires_grad]
            if parameters and all(p.grad is None for p in parameters):
                self._report(
                    slot,
                    f"it trains {name}, but none of its losses depends on it",
                    f"take {name} out of the recipe or of `trains`, or add the objective that trains it",
                )

    def _lost(self, name: str, learner: Learner) -> None:
        """A learner whose weights are averaged steps in a pass of its own, so that its gradient into the slots of
        others is dropped, and the gradient of others into its slots too."""
        for other, reached in self._beside(name, learner).items():
            apart = next((one for one in (name, other) if averages(self.learners[one].optimizers())), None)
            if apart is not None:
                slots = ", ".join(reached)
                self._report(
                    f"learners/{name}",
                    f"its gradient into {slots}, which learners/{other} trains, would be lost",
                    f"let one learner train all of it, cut the graph before {slots}, or keep no average where "
                    f"learners/{apart} has that option (learners.{apart}.average=null)",
                    f"learners/{apart} keeps the average of its weights, and steps apart from all others",
                )

    def _beside(self, name: str, learner: Learner) -> dict[str, list[str]]:
        """Learners by gradient of the same stages -> slots of theirs, not its own, in which its gradient arrived."""
        own = {p for slot in learner.config.trains for p in self.agent.module(slot).parameters()}
        outside = [slot for slot in learner.config.reaches if slot not in learner.config.trains]
        arrived = [slot for slot in outside if _has_gradient(self.agent.module(slot), own)]
        found: dict[str, list[str]] = {}
        for _, stage in self.recipe.settings.flat_stages():
            for other in (other for other in stage.learners if name in stage.learners and other != name):
                theirs = self.learners[other]
                free = {*theirs.config.trains} - {*stage.freeze} if type(theirs).update is Learner.update else set()
                shared = [slot for slot in arrived if slot in free and slot not in found.get(other, [])]
                if shared:
                    found[other] = [*found.get(other, []), *shared]
        return found

    def _average(self, name: str, learner: Learner) -> None:
        """Averages move by small shares of small differences, which weights of 8 binary digits round away."""
        if self.recipe.settings.trainer.precision != "bf16-true":
            return
        slow = any(isinstance(module, SlowCopy) and module.rate < 1 for module in learner.modules())
        if slow or averages(learner.optimizers()):
            self._report(
                f"learners/{name}",
                f"it keeps {'a slow copy' if slow else 'the average'} of weights, which stands still in "
                "`trainer.precision: bf16-true`",
                "use `bf16-mixed`, or "
                + ("`slow_rate: 1`" if slow else "`average: null`")
                + " where it has that option",
            )

    # -- reporting -----------------------------------------------------------------------------------------------

    def _guarded(self, slot: str, check: Callable[..., None], *arguments: Any) -> bool:
        """Whether a check found nothing. Whatever a component raises becomes a problem of its slot."""
        before = len(self.problems)
        try:
            check(*arguments)
        except Exception as error:  # noqa: BLE001 - components are other people's code: whatever they raise is the answer
            text = " ".join(str(error).split()) or "no message"
            self._report(slot, f"it fails on a synthetic batch: {type(error).__name__}: {text}")
        return len(self.problems) == before

    def _shape(self, slot: str, what: str, found: Tensor | torch.Size, wanted: tuple[int, ...]) -> None:
        shape = tuple(found.shape if isinstance(found, Tensor) else found)
        if shape != wanted:
            why = f"B = {self.B}, T = {self.T}, action size {self.agent.action.size}"
            self._report(slot, f"{what} has shape {shape}, not {wanted}", why=why)

    def _report(self, slot: str, what: str, fix: str = "", why: str = "") -> None:
        choice = self.recipe.choice(slot)
        who = f"{slot} ({choice.component.name})" if choice is not None else slot
        places = self.recipe.places
        key = slot.replace("/", ".")
        self.problems.append(Problem(f"{who}: {what}", places.get(f"{key}.name", places.get(key, "")), key, why, fix))


def _has_gradient(module: nn.Module, own: set[nn.Parameter]) -> bool:
    # A gradient of zeros counts: a head that begins with zero weights hides a path that the next update would use.
    return any(p.grad is not None for p in module.parameters() if p not in own)
