"""Checks of planners, on a point mass that is imagined exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, Actor, Carry, Distribution, Latent, Planner
from reverie.testing.dynamics_bench import rows
from reverie.testing.expect import differs, finite, require, same, shape
from reverie.testing.kit import check
from reverie.testing.subject import Subject
from reverie.testing.toy_distributions import ToyNormal, ToyOneHot
from reverie.testing.toy_imagination import PointMass, ToyLatent, point_latent
from reverie.testing.toys import random_actions


class Guide(Actor):
    """A proposal that knows where `target` of a `PointMass` is and says so, with a little noise."""

    def __init__(self, world: PointMass) -> None:
        super().__init__(None, world.size, world.action)
        self.world = world

    def policy(self, latent: Latent) -> Distribution:
        best = self.world.best_action(latent)
        return ToyOneHot(6.0 * best) if self.world.action.is_discrete else ToyNormal(best, 0.1, 1, bound=1.0)


class Watched(PointMass):
    """A point mass that counts how often the value was used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.valued = 0

    def value(self, latent: Latent) -> Tensor:
        self.valued += 1
        return super().value(latent)


class PlannerBench:
    """Makes the planner under test, with exactly the proposal and the value that it declares to need."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        claimed = [kind for kind in ("continuous", "discrete") if kind in subject.provides]
        self.actions = [ActionSpec("discrete" if kind == "discrete" else "continuous", 3) for kind in claimed]
        self.wants_actor, self.wants_value = subject.declares("actor"), subject.declares("heads/value")

    def world(self, action: ActionSpec, target: float = 0.0, **options: Any) -> Watched:
        return Watched(action, target, has_value=self.wants_value, **options)

    def make(self, world: PointMass, guide: Actor | None = None) -> Planner:
        """The planner under test for the world's action space, from a fixed seed."""
        proposal = (guide or Guide(world)) if self.wants_actor else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made: Planner = self.subject.target(self.subject.config, world.action, proposal)
        return made


def plan(
    planner: Planner, state: Latent, carry: Carry, world: PointMass, seeds: list[int], *, explore: bool = False,
    mode: bool = False,
) -> tuple[Tensor, Carry]:  # fmt: skip
    """One call as the agent makes it: noise by row; gradients off unless the planner asks for them."""
    sampling = rows(seeds).with_mode("mode") if mode else rows(seeds)
    with torch.set_grad_enabled(planner.differentiates):
        return planner.plan(state, carry, world, explore=explore, sampling=sampling)


@check("planner")
def bounds(bench: PlannerBench) -> None:
    """Actions are (B, A), finite, and within bounds: in [-1, 1], or exactly one-hot, exploring or not.

    The environment clips or fails; either way the plan that was scored is not the one that runs.
    """
    require(bool(bench.actions), "it provides neither 'continuous' nor 'discrete'")
    for action in bench.actions:
        for target in (0.0, 50.0, -50.0):
            world = bench.world(action, target)
            planner, state = bench.make(world), point_latent(torch.zeros(3, world.size))
            carry = planner.initial(3)
            for explore in (False, True):
                chosen, carry = plan(planner, state, carry, world, [1, 2, 3], explore=explore)
                _legal(chosen, action, 3, f"{action.kind} action (target at {target}, explore={explore})")


def _legal(chosen: Tensor, action: ActionSpec, B: int, what: str) -> None:
    shape(chosen, (B, action.size), what)
    finite(chosen, what)
    require(chosen.is_floating_point(), f"{what} is {chosen.dtype}, expected floating point")
    if action.is_discrete:
        one_hot = bool(((chosen == 0) | (chosen == 1)).all()) and bool((chosen.sum(-1) == 1).all())
        require(one_hot, f"{what} is not one-hot: {chosen[0].tolist()}")
    else:
        largest = float(chosen.detach().abs().max())
        require(largest <= 1.0, f"{what}: an entry is {largest:.4g}, beyond 1")


@check("planner")
def memory_is_explicit(bench: PlannerBench) -> None:
    """All memory is in the carry: equal calls give equal answers whatever was planned between, carries keep their form.

    A plan kept on the planner itself leaks between environments and evaluations, and no checkpoint holds it.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(2)
        carry = planner.initial(2)
        _rows_of(carry, 2, "initial(2)")
        first, after = plan(planner, state, carry, world, [1, 2])
        _rows_of(after, 2, "the carry that plan returned")
        require(set(after) == set(carry), f"the carry has {sorted(after)}, initial gave {sorted(carry)}")
        for name, value in after.items():
            what = f"carry['{name}'] beside initial: {value.dtype}, {tuple(value.shape)}"
            require((value.dtype, value.shape) == (carry[name].dtype, carry[name].shape), what)
        plan(planner, world.starts(3, seed=8), planner.initial(3), world, [7, 8, 9], explore=True)
        again, _ = plan(planner, state, planner.initial(2), world, [1, 2])
        same(again, first, "the same call again, after another was made between them", 0.0)


def _rows_of(carry: Carry, B: int, what: str) -> None:
    for name, value in carry.items():
        require(isinstance(value, Tensor), f"{what}: '{name}' is {type(value).__name__}, expected a tensor")
        require(value.dim() > 0 and value.shape[0] == B, f"{what}: '{name}' has shape {tuple(value.shape)}")


@check("planner")
def memory_resets_per_row(bench: PlannerBench) -> None:
    """Rows of `initial` make single environments fresh: they plan like new ones, the others go on as they were.

    Environments end at different times; the agent replaces the rows of those that begin.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(3)
        _, carry = plan(planner, state, planner.initial(3), world, [1, 2, 3])
        fresh = planner.initial(3)
        mixed = {name: value.clone() for name, value in carry.items()}
        for name, value in mixed.items():
            value[1] = fresh[name][1]
        later = world.starts(3, seed=4)
        going_on, _ = plan(planner, later, carry, world, [4, 5, 6])
        reset, _ = plan(planner, later, mixed, world, [4, 5, 6])
        single, _ = plan(planner, later[1:2], planner.initial(1), world, [5])
        same(reset[[0, 2]], going_on[[0, 2]], f"{action.kind} actions of the rows that were not reset")
        same(reset[1:2], single, f"{action.kind} action of the reset row beside a fresh environment's")


@check("planner")
def leaves_inputs_alone(bench: PlannerBench) -> None:
    """Planning changes neither the state nor the carry that it was given.

    The collector keeps them to repeat a step after a failure, and the recorder to show what was planned.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(2)
        _, carry = plan(planner, state, planner.initial(2), world, [1, 2])
        kept, position = {name: value.clone() for name, value in carry.items()}, state.x.clone()
        plan(planner, state, carry, world, [3, 4])
        same(state.x, position, "the state after planning", 0.0)
        for name, value in carry.items():
            same(value, kept[name], f"carry['{name}'] after planning", 0.0)


@check("planner")
def batch_independence(bench: PlannerBench) -> None:
    """Each environment's plan is its own: planned alone with its own generator it is the same as in a batch.

    Candidates and states must be repeated in the same order; a mistake shows only when the batch is larger than one.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(4)
        seeds, carry = [11, 12, 13, 14], planner.initial(4)
        singles = [planner.initial(1) for _ in seeds]
        for step in range(2):
            together, carry = plan(planner, state, carry, world, seeds)
            for row, seed in enumerate(seeds):
                alone, singles[row] = plan(planner, state[row : row + 1], singles[row], world, [seed])
                what = f"{action.kind} action of row {row} alone beside in a batch of 4, step {step}"
                same(alone[0], together[row], what, 1e-3)


@check("planner")
def finds_optimum(bench: PlannerBench) -> None:
    """On a point mass that is imagined exactly, with the target one step away, the plan is nearly the best one.

    Measured as regret: how much worse the first action is than the best, beside how much worse a random one is.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, B = bench.make(world), 12
        state = world.starts(B, seed=3)
        carry, seeds = planner.initial(B), list(range(B))
        chosen, _ = plan(planner, state, carry, world, seeds, mode=True)
        chance = random_actions((B,), action, torch.Generator().manual_seed(0))
        regret, by_chance = _regret(world, state, chosen), _regret(world, state, chance)
        numbers = f"mean regret {regret:.3g}, of random actions {by_chance:.3g}"
        require(regret <= 0.25 * by_chance, f"{action.kind} actions: {numbers} (allowed a quarter)")


def _regret(world: PointMass, state: ToyLatent, chosen: Tensor) -> float:
    def cost(action: Tensor) -> Tensor:
        return (world.move(state, action).x - world.target).square().sum(-1)  # (B,)

    return float((cost(chosen) - cost(world.best_action(state))).mean().detach())


@check("planner", when=lambda subject: subject.declares("actor"))
def uses_proposal(bench: PlannerBench) -> None:
    """A planner that declares to need an actor is moved by it: another proposal, another action.

    A need that is not used makes recipes train an actor for nothing.
    """
    for action in bench.actions:
        world = bench.world(action)
        state, seeds = world.starts(6), list(range(6))
        results = []
        for guide in (Guide(world), Guide(PointMass(action, 3.0))):
            planner = bench.make(world, guide)
            results.append(plan(planner, state, planner.initial(6), world, seeds)[0])
        differs(results[0], results[1], f"{action.kind} actions are the same under two opposite proposals")


@check("planner", when=lambda subject: subject.declares("heads/value"))
def uses_value(bench: PlannerBench) -> None:
    """A planner that declares to need a value head asks for values.

    A need that is not used makes recipes train a head for nothing.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(2)
        plan(planner, state, planner.initial(2), world, [1, 2])
        require(world.valued > 0, "`value` was never asked, neither directly nor by bootstrap=True")


@check("planner")
def survives_nan(bench: PlannerBench) -> None:
    """Plans whose score is not a number are never chosen; when every score is, the action is legal all the same.

    One not-a-number from a young model would otherwise reach the environment, or win every comparison.
    """
    for action in bench.actions:
        world = bench.world(action, nan_above=0.5)
        planner, B = bench.make(world), 6
        state, seeds = point_latent(torch.full((B, world.size), -0.6)), list(range(B))
        chosen, _ = plan(planner, state, planner.initial(B), world, seeds)
        _legal(chosen, action, B, f"{action.kind} action where some scores are NaN")
        if not bench.wants_actor:  # a proposal may insist on what cannot be scored
            bad = int((chosen[:, 0] > 0.5).sum())
            require(bad == 0, f"{bad} of {B} {action.kind} actions are among those whose reward is not a number")
        world = bench.world(action, nan_above=-2.0)
        carry = planner.initial(B)
        for _ in range(2):
            chosen, carry = plan(planner, state, carry, world, seeds)
            _legal(chosen, action, B, f"{action.kind} action where every score is NaN")
            for name, value in carry.items():
                require(not value.isnan().any(), f"carry['{name}'] holds NaN after planning where every score is NaN")


@check("planner")
def seeded(bench: PlannerBench) -> None:
    """Equal generators give equal plans, and torch's global generator is not used.

    Evaluation must repeat exactly, and resuming must not depend on what else drew numbers.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(2)
        found = []
        with torch.random.fork_rng(devices=[]):
            for seed in (1, 2):
                torch.manual_seed(seed)
                before = torch.get_rng_state()
                found.append(plan(planner, state, planner.initial(2), world, [3, 4], explore=True)[0])
                require(torch.equal(torch.get_rng_state(), before), "torch's global generator was used")
        same(found[1], found[0], f"{action.kind} actions with equal generators", 0.0)


@check("planner")
def cuts_the_graph(bench: PlannerBench) -> None:
    """The action and the carry hold no graph when gradients are off (or after a planner's own differentiation).

    A graph in the carry grows with every step until memory is full.
    """
    for action in bench.actions:
        world = bench.world(action)
        planner, state = bench.make(world), world.starts(2)
        chosen, carry = plan(planner, state, planner.initial(2), world, [1, 2])
        for name, value in {"the action": chosen, **{f"carry['{key}']": value for key, value in carry.items()}}.items():
            require(not value.requires_grad, f"{name} requires gradients")
