"""One gradient update of all learners of a stage: one view, one backward for all that share it, one step each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reverie.contracts.agent import AgentParts
from reverie.contracts.learner import Context, Learner, unique
from reverie.contracts.view import View
from reverie.errors import NumericalFault, ReverieError
from reverie.nn import averages, clip_adaptively, iterates, restart_averages
from reverie.training.ddp import ALONE, World


class Steps(Protocol):
    """What is needed of an optimizer; Lightning's wrapper is one too."""

    def step(self, closure: Any = None) -> Any: ...


def by_gradient(learner: Learner) -> bool:
    """Whether a learner has losses; the others override `update`."""
    return type(learner).update is Learner.update


class GradientUpdates:
    """Makes gradient updates.

    Args:
        agent: whose slots are trained.
        learners: all of the recipe, by name.
        optimizers: of each learner, in its own order.
        backward: what runs a backward pass; Lightning's `manual_backward` in a run.
        world: the processes that train together.
    """

    def __init__(
        self,
        agent: AgentParts,
        learners: Mapping[str, Learner],
        optimizers: Mapping[str, Sequence[Steps]],
        backward: Callable[[Tensor], Any] = torch.autograd.backward,
        world: World = ALONE,
    ) -> None:
        self.learners = dict(learners)
        self.optimizers = optimizers
        self.backward = backward
        self.world = world
        self.trained = {name: learner.trained(agent) for name, learner in self.learners.items()}
        everything = [p for module in (agent, *self.learners.values()) for p in _parameters(module)]
        self.parameters = unique(everything)

    def update(self, names: Sequence[str], view: View, contexts: Mapping[str, Context]) -> None:
        """Learners that share a backward pass first, together; then those with a backward of their own, one by one.

        Learners whose weights are averaged go before them, each alone with its own iterates: what they and all others
        see of each other is the average.

        Raises:
            NumericalFault: naming learner, loss and update, before any weight of the pass concerned has changed. What
                learners did that went before it stays.
        """
        averaging = [name for name in names if averages(self.optimizers[name])]
        others = [name for name in names if name not in averaging]
        for name in averaging:
            with iterates(self.optimizers[name]):
                self._together([name], view, contexts)
            if {"encoder", "dynamics"} & {*self.learners[name].config.trains}:
                view = view.afresh()
        with held(self._nobody_asks(others, view.agent) if averaging else ()):
            self._together(others, view, contexts)

    def _nobody_asks(self, names: Iterable[str], agent: AgentParts) -> list[nn.Parameter]:
        """What the states of a view of their own depend on, where no gradient of these learners passes through them:
        filtering without a graph is cheaper."""
        model = [*_parameters(agent.encoder), *_parameters(agent.dynamics)]
        trained = {parameter for name in names for parameter in self.trained[name]}
        reached = {slot for name in names for slot in self.learners[name].config.reaches}
        return [] if "encoder" in reached or not trained.isdisjoint(model) else model

    def rejoin(self, name: str, others: Iterable[str]) -> None:
        """A learner comes back after stages in which only others learned, perhaps in its slots."""
        theirs = {parameter for other in others for parameter in self.trained[other]}
        if not theirs.isdisjoint(self.trained[name]):
            restart_averages(self.optimizers[name])

    def _together(self, names: Sequence[str], view: View, contexts: Mapping[str, Context]) -> None:
        self._clear()
        sharing = [name for name in names if not self.learners[name].own_backward]
        if sharing:
            self._learn(sharing, view, contexts)
        for name in names:
            if self.learners[name].own_backward:
                self._clear()
                self._learn([name], view.detach(), contexts)
        self._clear()

    def _learn(self, names: Sequence[str], view: View, contexts: Mapping[str, Context]) -> None:
        means = {
            name: {key: value.mean() for key, value in self.learners[name].losses(view, contexts[name]).items()}
            for name in names
        }
        total = self._total(means)
        if self.world.any(not bool(torch.isfinite(total))):
            raise NumericalFault(_which_loss(means, contexts))
        self.backward(total)
        norms = {name: self._clipped(name) for name in names}
        if not all(bool(torch.isfinite(norm)) for norm in norms.values()):
            raise NumericalFault(_which_norm(norms, contexts))
        for name in names:
            for optimizer in self.optimizers[name]:
                optimizer.step()
        for name in names:
            with torch.no_grad():
                self.learners[name].after_step(contexts[name])
            for key, value in means[name].items():
                contexts[name].log(key, value.detach())
            contexts[name].log("grad_norm", norms[name])

    def _total(self, means: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        terms = [value for losses in means.values() for value in losses.values()]
        if not any(term.requires_grad for term in terms):
            raise ReverieError(
                f"no loss of {', '.join(means)} depends on a parameter that may be trained now: check `trains` of the "
                f"learner and `freeze` of the stage"
            )
        return torch.stack([term.reshape(()) for term in terms]).sum()

    def _clipped(self, name: str) -> Tensor:
        """The norm of a learner's gradient before clipping, as a scalar tensor."""
        config, trained = self.learners[name].config, self.trained[name]
        norm = after = _norm(trained)
        if config.adaptive_clip is not None:
            clip_adaptively(trained, config.adaptive_clip)
            after = _norm(trained)
        if config.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(trained, config.grad_clip, after)
        return norm

    def _clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


@contextmanager
def held(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, these parameters take no gradient, whatever `thawed` says: how a stage freezes slots."""
    changed = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """() of all gradients together."""
    return nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])


def _parameters(module: Any) -> list[nn.Parameter]:
    return list(module.parameters()) if isinstance(module, nn.Module) else []


def _which_loss(means: Mapping[str, Mapping[str, Tensor]], contexts: Mapping[str, Context]) -> str:
    for name, losses in means.items():
        for key, value in losses.items():
            if not bool(torch.isfinite(value)):
                return f"learner '{name}': loss '{key}' is {value.item()} at update {contexts[name].counters.updates}"
    name = next(iter(means))
    return f"a loss of {', '.join(means)} is not finite at update {contexts[name].counters.updates}"


def _which_norm(norms: Mapping[str, Tensor], contexts: Mapping[str, Context]) -> str:
    for name, norm in norms.items():
        if not bool(torch.isfinite(norm)):
            return (
                f"learner '{name}': the norm of its gradient is {norm.item()} at update "
                f"{contexts[name].counters.updates}, though its losses are finite"
            )
    raise AssertionError("asked for a norm that is not finite, but all are")
