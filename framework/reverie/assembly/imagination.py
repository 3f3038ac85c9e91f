"""The world model as planners and learners see it: rollouts, rewards, returns, values, scores of plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reverie.contracts.behaviour import Act, ScoreBy, Trajectory
from reverie.contracts.latent import Latent
from reverie.contracts.model import Head, Transition
from reverie.contracts.sampling import Sampling

if TYPE_CHECKING:
    from reverie.contracts.agent import AgentParts

CHUNK_ROWS = 2048
"""Rows imagined together by `score`: enough to keep matrix products busy, few enough to stay in cache."""


class Imagination:
    """Imagines with an agent's dynamics and heads. Nothing here disables gradients: some planners differentiate.

    Args:
        agent: whose dynamics, heads and actor are used, as they are at the time of each call.
        chunk_rows: rows that `score` imagines at once, which bounds its memory.

    Attributes:
        imagined: steps of single rows that were imagined so far, for those who time it.
    """

    def __init__(self, agent: AgentParts, chunk_rows: int = CHUNK_ROWS) -> None:
        self._agent = agent
        self._chunk_rows = chunk_rows
        self.imagined = 0

    @property
    def has_value(self) -> bool:
        """Whether `value` can be asked: there is a value head, and an actor to ask it about where it reads actions."""
        if "value" not in self._agent.heads:
            return False
        reads = self._agent.heads["value"].reads
        return reads == "after" or (reads == "before_action" and self._agent.actor is not None)

    def rollout(self, start: Latent, act: Act, horizon: int, sampling: Sampling) -> Trajectory:
        """Unroll (N,) starts over `horizon` steps.

        Raises:
            ValueError: for a horizon below one.
        """
        if horizon < 1:
            raise ValueError(f"the horizon of a rollout is at least 1, not {horizon}")
        states, actions = [start], []
        for _ in range(horizon):
            action = act(states[-1], sampling)  # (N, A)
            states.append(self._agent.dynamics.imagine(states[-1], action, sampling))
            actions.append(action)
        self.imagined += horizon * len(actions[0])
        return Trajectory(states=type(start).stack(states, 1), actions=torch.stack(actions, 1))

    def rewards(self, trajectory: Trajectory) -> Tensor:
        """(N, H): the expected reward on arrival, the mean over a head's members.

        Raises:
            KeyError: without `heads/reward`.
        """
        return _mean(self._head("reward"), trajectory)

    def continues(self, trajectory: Trajectory) -> Tensor:
        """(N, H): the probability that the episode goes on after arrival; ones without `heads/continue`."""
        if "continue" not in self._agent.heads:
            return trajectory.actions.new_ones(trajectory.actions.shape[:2])
        return _mean(self._head("continue"), trajectory)

    def returns(self, trajectory: Trajectory, discount: float = 1.0, bootstrap: bool = False) -> Tensor:
        """(N,): rewards, each weighted by the probability of having come that far.

        The reward on arrival at a true end counts; what follows does not, and neither does a value behind it. Rewards
        are never replaced (CORRECTNESS 19).
        """
        rewards, continues = self.rewards(trajectory), self.continues(trajectory)  # (N, H)
        passed = torch.cumprod(discount * continues, 1)  # (N, H): discount^h times P(still going after h steps)
        weights = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], 1)  # (N, H)
        total = (weights * rewards).sum(1)  # (N,)
        if bootstrap:
            total = total + passed[:, -1] * self.value(trajectory.states[:, -1])
        return total

    def value(self, latent: Latent) -> Tensor:
        """(*B): the value head's mean over members. A head that reads an action (Q) is asked at the actor's mode.

        Raises:
            KeyError: without `heads/value`.
            ValueError: for a Q head without an actor.
        """
        head = self._head("value")
        if head.reads == "after":
            return _members(head, head(Transition(before=None, action=None, after=latent)).mean)
        if self._agent.actor is None or head.reads == "transition":
            raise ValueError("the value of a state from a head that reads actions needs an actor and `before_action`")
        action = self._agent.actor.policy(latent).mode  # (*B, A)
        return _members(head, head(Transition(before=latent, action=action, after=None)).mean)

    def score(
        self,
        start: Latent,
        actions: Tensor,
        *,
        sampling: Sampling,
        particles: int | None = None,
        discount: float = 1.0,
        bootstrap: bool = False,
        risk: float = 0.0,
        continues: bool = True,
        by: ScoreBy = "reward",
    ) -> Tensor:
        """(B,) starts and (B, N, H, A) candidates -> (B, N) scores, the mean over particles minus `risk` deviations.

        Each particle's outcome is that of `returns`. A score that is not finite becomes -inf, so that a model that
        blew up is never chosen. Rows are imagined in chunks of candidates whose number does not depend on B: an
        environment's noise is its own in any batch. Nothing but the current step is kept, so a chunk stays in cache.

        Raises:
            ValueError: if the actions do not fit the starts, or for fewer particles than one.
            KeyError: without the heads that the score reads.
        """
        B, N, H = actions.shape[:3]
        if actions.dim() != 4 or H < 1 or start.batch_shape != (B,):
            raise ValueError(
                f"{tuple(start.batch_shape)} starts and actions {tuple(actions.shape)}: not (B,), (B, N, H, A)"
            )
        copies = particles if particles is not None else self._agent.dynamics.members or 1
        if copies < 1:
            raise ValueError(f"a plan is scored by at least 1 particle, not {copies}")
        judge = self._judge(discount, bootstrap, continues, by)
        candidates = min(N, max(1, self._chunk_rows // copies))  # per environment, whatever B
        group = max(1, self._chunk_rows // (candidates * copies)) if _divisible(sampling, B) else B
        rows = []
        for first in range(0, B, group):
            some = slice(first, min(first + group, B))
            drawn = _share(sampling, some, B)
            parts = [
                self._particles(start[some], actions[some, n : n + candidates], copies, drawn, judge)
                for n in range(0, N, candidates)
            ]
            rows.append(torch.cat(parts, 1))  # (b, N, P)
        outcomes = torch.cat(rows)  # (B, N, P)
        scores = outcomes.mean(-1)
        if risk:
            scores = scores - risk * outcomes.std(-1, unbiased=False)
        return torch.where(torch.isfinite(scores), scores, float("-inf"))

    def chose(self, plans: Tensor) -> None:
        """Nobody watches."""

    def _judge(self, discount: float, bootstrap: bool, continues: bool, by: ScoreBy) -> _Judge:
        signs = {"reward": {"reward": 1.0}, "cost": {"cost": -1.0}, "reward_minus_cost": {"reward": 1.0, "cost": -1.0}}
        terms = [(self._head(name), sign) for name, sign in signs[by].items()]
        goes_on = self._agent.heads["continue"] if continues and "continue" in self._agent.heads else None
        return _Judge(terms, goes_on, discount, self.value if bootstrap else None)

    def _particles(self, start: Latent, actions: Tensor, copies: int, sampling: Sampling, judge: _Judge) -> Tensor:
        B, N, H, A = actions.shape
        # Particle p of every candidate is copy p of its start, so that all candidates are judged by the same members.
        dynamics = self._agent.dynamics
        particles = dynamics.branch(start, copies)  # (B * P,)
        # Step by step, so that what one step reads lies together.
        plans = actions[:, None].expand(B, copies, N, H, A).permute(3, 0, 1, 2, 4).reshape(H, B * copies * N, A)
        state = particles.repeat(N)  # (B * P * N,): environment, particle, candidate
        for step, action in enumerate(plans):  # (B * P * N, A)
            # The first step is from one state with many actions: some dynamics know how to use that.
            after = dynamics.imagine(state, action, sampling) if step else dynamics.fan(particles, N, action, sampling)
            judge.step(state, action, after)
            state = after
        self.imagined += B * N * copies * H
        return judge.verdict(state).reshape(B, copies, N).transpose(1, 2)

    def _head(self, name: str) -> Head:
        if name not in self._agent.heads:
            raise KeyError(f"imagination needs the slot 'heads/{name}', which this recipe leaves empty")
        return self._agent.heads[name]


class _Judge:
    """Adds up one set of imagined trajectories step by step, as `returns` does for whole ones.

    Args:
        terms: heads and the sign with which their mean counts.
        goes_on: the continue head; None counts every step in full.
        discount: per step.
        value: of last states; None adds nothing for what comes after them.
    """

    def __init__(
        self,
        terms: Sequence[tuple[Head, float]],
        goes_on: Head | None,
        discount: float,
        value: Callable[[Latent], Tensor] | None,
    ) -> None:
        self.terms, self.goes_on, self.discount, self.value = terms, goes_on, discount, value
        self.total: Tensor | float = 0.0
        self.weight: Tensor | float = 1.0

    def step(self, before: Latent, action: Tensor, after: Latent) -> None:
        """One step of R trajectories: (R,) states, (R, A) actions, (R,) states."""
        for head, sign in self.terms:
            self.total = self.total + (sign * self.weight) * _expected(head, before, action, after)  # (R,)
        if self.goes_on is not None:
            self.weight = self.weight * self.discount * _expected(self.goes_on, before, action, after)  # (R,)
        else:
            self.weight = self.weight * self.discount

    def verdict(self, last: Latent) -> Tensor:
        """(R,): the outcome of each trajectory; ready for the next set."""
        total = self.total + self.weight * self.value(last) if self.value is not None else self.total
        assert isinstance(total, Tensor)  # there is at least one step and one term
        self.total, self.weight = 0.0, 1.0
        return total


def _expected(head: Head, before: Latent, action: Tensor, after: Latent) -> Tensor:
    """(R,): a head's mean for single transitions."""
    reads = head.reads
    transition = Transition(
        before=None if reads == "after" else before,
        action=None if reads == "after" else action,
        after=None if reads == "before_action" else after,
    )
    return _members(head, head(transition).mean)


def _mean(head: Head, trajectory: Trajectory) -> Tensor:
    states = trajectory.states
    reads = head.reads
    transition = Transition(
        before=None if reads == "after" else states[:, :-1],
        action=None if reads == "after" else trajectory.actions,
        after=None if reads == "before_action" else states[:, 1:],
    )
    return _members(head, head(transition).mean)  # (N, H)


def _members(head: Head, mean: Tensor) -> Tensor:
    return mean if head.members is None else mean.mean(-1)


def _per_row(sampling: Sampling, rows: int) -> bool:
    return sampling.generators is not None and len(sampling.generators) == rows


def _divisible(sampling: Sampling, rows: int) -> bool:
    """Whether the noise of some environments can be drawn without the others."""
    return sampling.generators is None or len(sampling.generators) == 1 or _per_row(sampling, rows)


def _share(sampling: Sampling, rows: slice, total: int) -> Sampling:
    """The sampling of some environments: their own generators, where there is one for each."""
    generators: Any = sampling.generators
    return replace(sampling, generators=generators[rows]) if _per_row(sampling, total) else sampling
