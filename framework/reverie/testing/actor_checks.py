"""Checks of actors: policies with distributions, which act as planners too."""

from __future__ import annotations

import copy

import torch

from reverie.contracts import ActionSpec, Actor, Sampling
from reverie.testing.dynamics_bench import rows, shaken
from reverie.testing.expect import differs, finite, require, same, shape
from reverie.testing.kit import check
from reverie.testing.planner_checks import _legal
from reverie.testing.subject import Subject
from reverie.testing.toy_imagination import PointMass, ToyLatent, point_latent


class ActorBench:
    """Makes the actor under test for both action kinds that it claims, with shaken parameters."""

    size = 4

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        claimed = [kind for kind in ("continuous", "discrete") if kind in subject.provides]
        self.actions = [ActionSpec("discrete" if kind == "discrete" else "continuous", 3) for kind in claimed]

    def make(self, action: ActionSpec) -> Actor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made: Actor = self.subject.target(self.subject.config, self.size, action)
            shaken(made, 0.1)
        return made

    def states(self, *batch: int, seed: int = 1) -> ToyLatent:
        return point_latent(torch.randn(*batch, self.size, generator=torch.Generator().manual_seed(seed)))


@check("actor")
def policy_shapes(bench: ActorBench) -> None:
    """`policy` is a distribution with the states' batch shape; log-probability and entropy are one number per state.

    A distribution that counts action dimensions as batch makes every policy gradient wrong without an error.
    """
    require(bool(bench.actions), "it provides neither 'continuous' nor 'discrete'")
    for action in bench.actions:
        actor = bench.make(action)
        for batch in ((5,), (2, 3), (1,)):
            policy = actor.policy(bench.states(*batch))
            drawn = Sampling(generators=[torch.Generator().manual_seed(0)]).draw(policy)
            shape(drawn, (*batch, action.size), f"a draw from policy of {batch} states")
            require(tuple(policy.batch_shape) == batch, f"batch_shape is {tuple(policy.batch_shape)}, expected {batch}")
            for name, value in (("log_prob", policy.log_prob(drawn.detach())), ("entropy", policy.entropy())):
                shape(value, batch, f"{name} of policy of {batch} states ({action.kind})")
                finite(value, f"{name} ({action.kind})")


@check("actor")
def draws_within_bounds(bench: ActorBench) -> None:
    """Draws and modes, while acting, are legal actions: in [-1, 1], or exactly one-hot.

    Clipping happens at the environment, but a policy far outside the bounds has no gradient there.
    """
    for action in bench.actions:
        actor = bench.make(action)
        state = bench.states(64).map(lambda value: value * 5.0)
        world = PointMass(action)
        for mode in (False, True):
            sampling = rows([1]).with_mode("mode") if mode else rows([1])
            with torch.no_grad():
                chosen, _ = actor.plan(state, actor.initial(64), world, explore=False, sampling=sampling)
            _legal(chosen.clamp(-1, 1), action, 64, f"{action.kind} action, mode={mode}")
            inside = float((chosen.abs() <= 1).float().mean())
            require(inside > 0.5, f"{inside:.0%} of the entries of {action.kind} draws lie within bounds")


@check("actor")
def draws_carry_gradients(bench: ActorBench) -> None:
    """A draw carries gradients to every parameter of the policy (straight-through for one-hot actions).

    Actors that learn through the dynamics have no other signal.
    """
    for action in bench.actions:
        actor = bench.make(action)
        drawn = rows([1]).draw(actor.policy(bench.states(32)))
        require(drawn.requires_grad, f"a draw of a {action.kind} action carries no graph")
        weights = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(2))
        named = dict(actor.named_parameters())
        found = torch.autograd.grad((drawn * weights).sum(), list(named.values()), allow_unused=True)
        dead = [name for name, grad in zip(named, found, strict=True) if grad is None or not grad.abs().max() > 0]
        require(not dead, f"{action.kind} actions: no gradient reaches {', '.join(dead)}")


@check("actor")
def state_matters(bench: ActorBench) -> None:
    """The policy depends on the state, row by row.

    A row may see no other row, and every row must see its own state.
    """
    for action in bench.actions:
        actor, state = bench.make(action), bench.states(3)
        moved = point_latent(state.x.clone())
        moved.x[1] += 3.0
        before, after = actor.policy(state).mean, actor.policy(moved).mean
        same(after[[0, 2]], before[[0, 2]], "rows whose state did not change")
        differs(after[1], before[1], f"the mean {action.kind} action did not change with the state")


@check("actor")
def seeded_draws(bench: ActorBench) -> None:
    """Draws come from `sampling` alone, and a copy draws the same."""
    for action in bench.actions:
        actor, state = bench.make(action), bench.states(4)
        drawn = []
        with torch.random.fork_rng(devices=[]):
            for policy_of in (actor, copy.deepcopy(actor)):
                before = torch.get_rng_state()
                drawn.append(rows([1, 2, 3, 4]).draw(policy_of.policy(state)))
                require(torch.equal(torch.get_rng_state(), before), "torch's global generator was used")
        same(drawn[1], drawn[0], f"{action.kind} draws with equal generators", 0.0)
