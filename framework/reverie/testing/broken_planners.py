"""Planners that are each broken in one way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.contracts import Carry, Imagination, Latent, Sampling, Trajectory
from reverie.extension.spec import Needs
from reverie.testing.broken import breaks
from reverie.testing.toy_imagination import ToyPlanner

BOTH = ("continuous", "discrete")
Answer = tuple[Tensor, Carry]


@breaks("planner", "bounds", provides=BOTH, also=["survives_nan"])
class Overshoots(ToyPlanner):
    """Adds a tenth to what it found, and does not clip."""

    def plan(self, *args: Any, **options: Any) -> Answer:
        action, carry = super().plan(*args, **options)
        return action + 0.1, carry


@breaks("planner", "bounds", provides=[])
class ForNobody(ToyPlanner):
    """Claims neither kind of action."""


@breaks("planner", "memory_is_explicit", provides=BOTH, also=["batch_independence", "memory_resets_per_row"])
class RemembersOnItself(ToyPlanner):
    """Searches less with every call, and counts the calls on itself."""

    def plan(self, *args: Any, **options: Any) -> Answer:
        answer = super().plan(*args, **options)
        self.candidates = max(1, self.candidates // 2)
        return answer


class CountingPlanner(ToyPlanner):
    """Correct: a `ToyPlanner` that warm-starts only from its second step on, counted per row."""

    def initial(self, batch_size: int) -> Carry:
        return {**super().initial(batch_size), "steps": torch.zeros(batch_size, dtype=torch.int64)}

    def begun(self, steps: Tensor) -> Tensor:
        """(B,) bool: whether each environment has planned before."""
        return steps > 0

    def plan(self, latent: Latent, carry: Carry, *args: Any, **options: Any) -> Answer:
        begun = self.begun(carry["steps"])[:, None, None]
        begin = super().initial(latent.batch_shape[0])["plan"]
        action, after = super().plan(latent, {"plan": torch.where(begun, carry["plan"], begin)}, *args, **options)
        action = torch.where(begun[:, 0], action.flip(-1), action)  # so that the count shows
        return action, {**after, "steps": carry["steps"] + 1}


@breaks("planner", "memory_resets_per_row", provides=BOTH)
class ResetsTogether(CountingPlanner):
    """Takes all environments for begun as soon as one is."""

    def begun(self, steps: Tensor) -> Tensor:
        return (steps > 0).any().expand(steps.shape)


@breaks("planner", "leaves_inputs_alone", provides=BOTH)
class OverwritesCarry(ToyPlanner):
    """Writes the new plan into the memory that it was given."""

    def plan(self, latent: Latent, carry: Carry, *args: Any, **options: Any) -> Answer:
        action, after = super().plan(latent, carry, *args, **options)
        carry["plan"].copy_(after["plan"] * 0.5)
        return action, after


@breaks("planner", "batch_independence", provides=BOTH, also=["finds_optimum", "memory_resets_per_row"])
class TilesStarts(ToyPlanner):
    """Repeats the starts in another order than the candidates."""

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> Answer:
        B, N, H, A = carry["plan"].shape[0], self.candidates, self.horizon, self.action.size
        noise = sampling.rand((B * N, H, A))
        drawn = torch.nn.functional.one_hot(noise.argmax(-1), A).float() if self.action.is_discrete else noise * 2 - 1
        tiled = latent.map(lambda value: value.repeat(N, 1))  # should be repeat_interleave
        steps = iter(range(H))
        trajectory = imagination.rollout(tiled, lambda *_: drawn[:, next(steps)], H, sampling)
        scores = imagination.returns(trajectory).reshape(B, N).nan_to_num(-torch.inf, posinf=-torch.inf)
        best = drawn.reshape(B, N, H, A)[torch.arange(B), scores.argmax(1)]
        return best[:, 0], carry


@breaks("planner", "finds_optimum", provides=BOTH)
class ExecutesTheLast(ToyPlanner):
    """Executes the last action of the best plan."""

    def plan(self, *args: Any, **options: Any) -> Answer:
        _, carry = super().plan(*args, **options)
        return carry["plan"][:, -1], carry


@breaks("planner", "uses_proposal", provides=BOTH, needs=Needs(slots=("actor",)))
class IgnoresProposal(ToyPlanner):
    """Declares to need an actor, and never asks it."""


@breaks("planner", "uses_value", provides=BOTH, needs=Needs(slots=("heads/value",)))
class IgnoresValue(ToyPlanner):
    """Declares to need a value head, and never asks for a value."""


class Forgiving:
    """An imagination in which what is not a number counts as zero: better than every honest (negative) score."""

    def __init__(self, inner: Imagination) -> None:
        self.inner = inner

    def score(self, start: Latent, actions: Tensor, *, sampling: Sampling) -> Tensor:
        B, N, H, A = actions.shape
        flat, steps = actions.reshape(B * N, H, A), iter(range(H))
        trajectory: Trajectory = self.inner.rollout(start.repeat(N), lambda *_: flat[:, next(steps)], H, sampling)
        return self.inner.returns(trajectory).reshape(B, N).nan_to_num(0.0)


@breaks("planner", "survives_nan", provides=BOTH)
class NaNIsZero(ToyPlanner):
    """Turns scores that are not a number into zeros."""

    def plan(self, latent: Latent, carry: Carry, imagination: Imagination, **options: Any) -> Answer:
        forgiving: Any = Forgiving(imagination)
        return super().plan(latent, carry, forgiving, **options)


@breaks("planner", "seeded", provides=BOTH)
class GlobalCandidates(ToyPlanner):
    """Uses torch's global generator, though only to break ties."""

    def plan(self, *args: Any, **options: Any) -> Answer:
        torch.rand(1)
        return super().plan(*args, **options)


@breaks("planner", "cuts_the_graph", provides=BOTH)
class KeepsGraph(ToyPlanner):
    """Differentiates, and returns the action with the graph attached."""

    differentiates = True

    def plan(self, *args: Any, **options: Any) -> Answer:
        action, carry = super().plan(*args, **options)
        return action * torch.ones((), requires_grad=True), carry
