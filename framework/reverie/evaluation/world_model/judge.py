"""Asks an agent about held-out episodes and hands its answers to the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from reverie.assembly.build import NobodyActs
from reverie.contracts.model import Observed
from reverie.contracts.sampling import Sampling
from reverie.evaluation.dreaming import code_decoder
from reverie.evaluation.episodes import Mode, evaluating, preserved_randomness
from reverie.evaluation.recording import Recording
from reverie.evaluation.world_model.applicable import NotApplicable
from reverie.evaluation.world_model.continuation import ContinueCalibration, ContinueResult
from reverie.evaluation.world_model.held_out import Future, HeldOut, Starts, held_out, spread_starts
from reverie.evaluation.world_model.latents import (
    ActiveUnits,
    ActiveUnitsResult,
    ClassUsage,
    ClassUsageResult,
    KLResult,
    LatentKL,
)
from reverie.evaluation.world_model.open_loop import OpenLoopError, OpenLoopResult
from reverie.evaluation.world_model.report import Conditions, WorldModelReport
from reverie.evaluation.world_model.returns import ReturnGap, ReturnGapResult, ValueAccuracy, ValueResult
from reverie.evaluation.world_model.reward import RewardAccuracy, RewardResult
from reverie.evaluation.world_model.rollouts import Imagined, filtered, imagined_from, imagined_return

NUMBERS_AT_ONCE = 8_000_000
"""Numbers of observations and states held in memory at once: long rollouts are imagined for a few starts at a time."""
ANOTHERS = "another policy played these episodes"
_GOLDEN = (5**0.5 - 1) / 2
MOSTLY_BORROWED = 0.9
"""A return is not compared where this much of it is the value head's own word."""

MOST_STARTS = 5_000
"""Over all episodes, where nobody says how many: ten episodes of 500 steps have fewer."""


def judge(
    agent: Any,
    recordings: Sequence[Recording],
    *,
    discount: float | None = None,
    continue_discount: float = 1.0,
    context: int = 5,
    horizon: int = 50,
    span: int = 15,
    starts: int | None = None,
    policy_starts: int = 40,
    own: bool = True,
    mode: Mode = "mode",
    seed: int = 0,
) -> WorldModelReport:
    """Judge a world model on episodes that it was not trained on. Same arguments, same answer; no generator moves.

    Args:
        agent: an assembled `Agent`, or anything that satisfies `AgentParts`.
        recordings: whole episodes from their resets on, at least one.
        discount: per step, of the returns that the value head estimates; None if unknown.
        continue_discount: what a certain "goes on" is, where a discount is folded into the continue target.
        context: rows that the model has seen before it imagines, at least (fewer in shorter episodes).
        horizon: steps that it imagines along real actions.
        span: the first of them, over which rewards, continues and the policy's return are judged.
        starts: per episode, evenly spread, for open-loop imagination; None takes every row where observations are
            vectors, up to `MOST_STARTS` over all episodes, and 16 where there are pictures among them.
        policy_starts: over all episodes, for the policy in imagination.
        own: whether the agent itself played; nothing is said of its values and its policy on another's episodes.
        mode: whether latents (and the policy's actions) are the most likely ones or drawn.
        seed: of what is drawn.

    Raises:
        ValueError: for no episodes, or for a horizon, span, context or number of starts below one.
    """
    starts = starts if starts is not None else _affordable_starts(agent, len(recordings))
    if min(context, horizon, span, starts, policy_starts) < 1:
        raise ValueError("context, horizon, span and the numbers of starts must be at least 1")
    sampling = Sampling(mode, generators=[torch.Generator().manual_seed(seed)])
    with preserved_randomness(seed), evaluating(agent), torch.no_grad():
        held = held_out(recordings, device=agent.dynamics.initial(1).device)
        observed = filtered(agent, held, sampling)
        chosen = spread_starts(held, context, starts)
        case = _Case(agent, held, observed, chosen, sampling, horizon, min(span, horizon))
        observations, reward, cont = case.open_loop(continue_discount)
        kl, latents = case.latent_state()
        return WorldModelReport(
            conditions=Conditions(len(recordings), len(chosen), context, horizon, mode, discount),
            observations=observations,
            reward=reward,
            cont=cont,
            kl=kl,
            latents=latents,
            value=case.value(discount, context, own),
            policy=case.policy(policy_starts, continue_discount, own),
        )


def _affordable_starts(agent: Any, episodes: int) -> int:
    """Errors differ much between the moments of a task, so that more starts tell more; pictures are dear, and so are
    many long episodes."""
    return 16 if agent.observation.images else max(16, MOST_STARTS // max(1, episodes))


class _Case:
    """One agent before one set of episodes. Metrics are not reduced over processes: one of them judges alone."""

    def __init__(
        self,
        agent: Any,
        held: HeldOut,
        observed: Observed[Any],
        starts: Starts,
        sampling: Sampling,
        horizon: int,
        span: int,
    ) -> None:
        self.agent, self.held, self.observed, self.starts = agent, held, observed, starts
        self.sampling, self.horizon, self.span = sampling, horizon, span

    # Imagination along real actions.

    def open_loop(
        self, continue_discount: float
    ) -> tuple[OpenLoopResult | NotApplicable, RewardResult | NotApplicable, ContinueResult | NotApplicable]:
        """Observations, rewards and ends that the model foresees."""
        spec = self.agent.observation
        reward = RewardAccuracy(self.horizon, self.span, sync_on_compute=False)
        cont = ContinueCalibration(sync_on_compute=False)
        observations: OpenLoopError | None = None
        for part in self._parts():
            future = self.held.future(part, self.horizon)
            states = self.observed.states[part.episode, part.step]  # (N,)
            imagined = imagined_from(self.agent, states, future.action, self.sampling)
            if imagined.obs:
                if observations is None:
                    entries = {key: spec[key] for key in imagined.obs}
                    observations = OpenLoopError(entries, self.horizon, sync_on_compute=False)
                observations.update(imagined.obs, future.obs, future.last, future.valid)
            self._heads(imagined, future, reward, cont, continue_discount)
        return (
            self._result(observations, None if code_decoder(self.agent) else "this recipe has no decoder"),
            self._result(reward, self._without("reward")),
            self._result(cont, self._without("continue")),
        )

    def _heads(
        self,
        imagined: Imagined,
        future: Future,
        reward: RewardAccuracy,
        cont: ContinueCalibration,
        continue_discount: float,
    ) -> None:
        if imagined.reward is not None:
            reward.update(imagined.reward, future.reward, future.last_reward, future.valid)
        if imagined.cont is not None:
            near = slice(None, self.span)
            cont.update(imagined.cont[:, near] / continue_discount, future.cont[:, near], future.valid[:, near])

    def _parts(self) -> list[Starts]:
        dynamics = self.agent.dynamics
        size = sum(int(torch.Size(spec.shape).numel()) for spec in self.agent.observation.values())
        size = (size + dynamics.feature_size + dynamics.code_size) * (dynamics.members or 1)
        rows = max(1, NUMBERS_AT_ONCE // (size * self.horizon))
        return [self.starts[first : first + rows] for first in range(0, len(self.starts), rows)]

    # Latent states.

    def latent_state(self) -> tuple[KLResult | NotApplicable, ActiveUnitsResult | ClassUsageResult | NotApplicable]:
        """The divergence of posterior and prior where both are known, and what the posterior uses."""
        posterior, prior = self.observed.states.distribution, self.observed.priors.distribution
        if posterior is None or prior is None:
            why = NotApplicable("the latent state of this dynamics names no distribution that it was drawn from")
            return why, why
        valid = self.held.valid
        seen = valid & ~self.held.is_first  # before the first row there is nothing to predict from
        kl = LatentKL(sync_on_compute=False)
        if hasattr(posterior, "kl"):
            kl.update(posterior.kl(prior), seen)
        return self._result(
            kl, None if hasattr(posterior, "kl") else "no divergence is known of these latents"
        ), self._usage(posterior, valid)

    def _usage(self, posterior: Any, valid: Tensor) -> ActiveUnitsResult | ClassUsageResult | NotApplicable:
        if hasattr(posterior, "probs"):
            probs: Tensor = posterior.probs  # (B, T, G, K) or (B, T, K)
            probs = probs.unsqueeze(-2) if probs.dim() == valid.dim() + 1 else probs
            classes = ClassUsage(*probs.shape[-2:], sync_on_compute=False)
            classes.update(probs, valid)
            used: ClassUsageResult | NotApplicable = self._result(classes, None)
            return used
        if hasattr(posterior, "std") or hasattr(posterior, "stddev"):
            mean: Tensor = posterior.mean.flatten(valid.dim())  # (B, T, units)
            units = ActiveUnits(mean.shape[-1], sync_on_compute=False)
            units.update(mean, valid)
            active: ActiveUnitsResult | NotApplicable = self._result(units, None)
            return active
        return NotApplicable("the latents are neither Gaussian nor categorical")

    # Returns.

    def value(self, discount: float | None, context: int, own: bool) -> ValueResult | NotApplicable:
        """Values of filtered states against what followed."""
        if "value" not in self.agent.heads:
            return NotApplicable("this recipe has no value head")
        if not own:
            return NotApplicable(ANOTHERS)
        reads = self.agent.heads["value"].reads
        if reads == "transition" or (reads == "before_action" and self.agent.actor is None):
            return NotApplicable("the value head judges actions, and there is no actor to choose them")
        if discount is None:
            return NotApplicable("the learners of this recipe name no discount, or several")
        value = self.agent.imagination.value(self.observed.states).float()  # (B, T)
        returns, borrowed = discounted_returns(self.held, value, discount)  # (B, T)
        steps = torch.arange(self.held.shape[1], device=value.device)
        before_end = steps < (self.held.lengths - 1)[:, None]  # (B, T)
        enough = (steps >= context - 1) | (self.held.lengths <= context)[:, None]
        chosen = before_end & enough & (borrowed <= MOSTLY_BORROWED)
        metric = ValueAccuracy(sync_on_compute=False)
        if bool(chosen.any()):
            metric.update(value[chosen], returns[chosen], borrowed[chosen])
        why = "time limits cut every episode before its return is more than the value head's own word"
        found: ValueResult | NotApplicable = self._result(metric, None, why)
        return found

    def policy(self, most: int, continue_discount: float, own: bool) -> ReturnGapResult | NotApplicable:
        """The policy's imagined return against the real one over as many steps."""
        if isinstance(self.agent.planner, NobodyActs):
            return NotApplicable("this recipe has neither a planner nor an actor")
        if (missing := self._without("reward")) is not None:
            return NotApplicable(missing)
        if not own:
            return NotApplicable(ANOTHERS)
        future = self.held.future(self.starts, self.span)
        whole = future.valid[:, -1] | (future.valid & ~future.cont).any(1)  # (N,): as long, or truly over before
        rows = whole.nonzero()[:, 0]
        rows = rows[_spread(len(rows), most)]
        metric = ReturnGap(self.span, sync_on_compute=False)
        if len(rows):
            part = self.starts[rows]
            states = self.observed.states[part.episode, part.step]  # (n,)
            real = (future.reward * future.valid).sum(1)[rows]
            imagined = imagined_return(self.agent, states, self.span, self.sampling, continue_discount)
            metric.update(imagined, real)
        found: ReturnGapResult | NotApplicable = self._result(
            metric, None, f"no held-out episode goes on for {self.span} steps"
        )
        return found

    # Answers.

    def _without(self, head: str) -> str | None:
        return None if head in self.agent.heads else f"this recipe has no {head} head"

    def _result(self, metric: Metric | None, missing: str | None, unused: str = "no held-out step to judge") -> Any:
        """The metric's answer; or why it cannot be asked, or was never fed."""
        if missing is not None:
            return NotApplicable(missing)
        if metric is None or not metric.update_called:
            return NotApplicable(unused)
        return metric.compute()


def _spread(rows: int, most: int) -> Tensor:
    """At most `most` of so many rows, in order: one from each of equal parts, at places within the parts that differ.

    Episodes of one length are thus not all met at the same moments.
    """
    count = min(rows, most)
    parts = torch.arange(count, dtype=torch.float64)
    within = (parts * _GOLDEN) % 1.0
    return ((parts + within) * rows / max(1, count)).long()


def discounted_returns(held: HeldOut, value: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    """(B, T) real discounted returns from each row on, and the weight (B, T) in them of a value.

    An episode that a time limit cut goes on in truth: its return ends in the value of its last row, as the targets of
    a value head do. Rows behind the end mean nothing.
    """
    B, T = held.shape
    last = held.lengths - 1  # (B,)
    rows = torch.arange(B, device=last.device)
    cut = (~held.ended).to(value.dtype)
    total = torch.zeros_like(value)  # (B, T)
    borrowed = torch.zeros_like(value)
    after, weight = cut * value[rows, last], cut  # (B,)
    for t in range(T - 1, -1, -1):
        if t + 1 < T:
            inside = t < last  # (B,)
            after = torch.where(inside, held.reward[:, t + 1] + discount * after, after)
            weight = torch.where(inside, discount * weight, weight)
        total[:, t], borrowed[:, t] = after, weight
    return total, borrowed
