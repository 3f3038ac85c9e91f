"""Checks of dynamics: shapes, time, episode borders, batches, and imagination beside filtering."""

from __future__ import annotations

import torch
from torch import nn

from reverie.contracts import Latent, Sampling
from reverie.testing.dynamics_bench import MODE, DynamicsBench, numbers, observe, rows
from reverie.testing.expect import differs, finite, require, same, same_latent, shape
from reverie.testing.kit import check
from reverie.testing.toys import toy_action

__all__ = ["DynamicsBench"]


@check("dynamics")
def shapes(bench: DynamicsBench) -> None:
    """Every state has the promised batch shape and sizes, also for one step, one row and one-hot actions.

    Acting is filtering with T = 1; the assembly sizes heads and decoders by `feature_size` and `code_size`.
    """
    for kind, (B, T) in [
        (kind, size) for kind in ("continuous", "discrete") for size in ((3, 5), (1, 1), (2, 1), (1, 4))
    ]:
        action = toy_action(kind, 3)
        dynamics = bench.make(action)
        sizes = (dynamics.feature_size, dynamics.code_size)
        require(all(isinstance(size, int) and size > 0 for size in sizes), f"feature_size, code_size are {sizes}")
        observed = observe(dynamics, bench.chunk(B, T, action, firsts=[(0, 0)]))
        for name in ("states", "priors", "train"):
            _shaped(getattr(observed, name), (B, T), sizes, f"observed.{name} ({kind} actions, B={B}, T={T})")
        _shaped(observed.last, (B,), sizes, f"observed.last ({kind} actions, B={B}, T={T})")
        _shaped(dynamics.initial(B), (B,), sizes, f"initial({B})")
        action_now = bench.chunk(B, 1, action).action[:, 0]
        _shaped(dynamics.imagine(observed.last, action_now, MODE), (B,), sizes, f"imagine ({kind} actions, B={B})")
        same_latent(observed.last, observed.states[:, -1], "observed.last beside the last of observed.states")


def _shaped(latent: Latent, batch: tuple[int, ...], sizes: tuple[int, int], what: str) -> None:
    require(tuple(latent.batch_shape) == batch, f"{what}: batch_shape is {tuple(latent.batch_shape)}, expected {batch}")
    for name, value in latent.tensors().items():
        require(
            value.shape[: len(batch)] == batch, f"{what}.{name}: shape {tuple(value.shape)}, expected {batch} first"
        )
        if value.is_floating_point():
            finite(value, f"{what}.{name}")
    shape(latent.features, (*batch, sizes[0]), f"{what}.features")
    shape(latent.code, (*batch, sizes[1]), f"{what}.code")
    require(latent.features.dtype == torch.float32, f"{what}.features: {latent.features.dtype}, expected float32")


@check("dynamics")
def chunks_equal_whole(bench: DynamicsBench) -> None:
    """Observing a sequence in chunks, carrying `last`, gives what observing it whole gives.

    Acting filters one step at a time and training a chunk at a time: they must be the same filter.
    """
    dynamics, chunk = bench.make(), bench.chunk(3, 7, firsts=[(0, 0), (1, 3)])
    whole = observe(dynamics, chunk)
    for cuts in ((4,), (1, 2, 3, 4, 5, 6)):
        last, parts = None, []
        for begin, end in zip((0, *cuts), (*cuts, 7), strict=True):
            observed = observe(dynamics, chunk[:, begin:end], last)
            last = observed.last
            parts.append(observed)
        what = f"cut before {list(cuts)}"
        same(torch.cat([part.states.features for part in parts], 1), whole.states.features, f"states.features, {what}")
        same(torch.cat([part.priors.features for part in parts], 1), whole.priors.features, f"priors.features, {what}")
        same(parts[-1].last.features, whole.last.features, f"last.features, {what}")


@check("dynamics")
def border_forgets_state(bench: DynamicsBench) -> None:
    """Where `is_first` is true, nothing of the state before enters, neither carried into the chunk nor built in it.

    A state that leaks over an episode's end makes the model look better than it is, and acting differs from training.
    """
    for step in (0, 3):
        dynamics, chunk = bench.make(), bench.chunk(2, 6, firsts=[(0, step)])
        chunk = chunk.replace(action=_blank(chunk.action, 0, step))
        state = bench.started(dynamics, 2)
        other = state.map(lambda value: value + 3.0 if value.is_floating_point() else value)
        poisoned = chunk.replace(embed=chunk.embed.clone(), action=chunk.action.clone())
        poisoned.embed[0, :step] += 3.0
        poisoned.action[0, :step] *= -1.0
        clean, foul = observe(dynamics, chunk, state), observe(dynamics, poisoned, other)
        what = f"row 0 from its border at step {step} on, after the state before it was changed"
        same_latent(foul.states[0, step:], clean.states[0, step:], f"states, {what}")
        same_latent(foul.priors[0, step:], clean.priors[0, step:], f"priors, {what}")


@check("dynamics")
def border_forgets_action(bench: DynamicsBench) -> None:
    """Where `is_first` is true, the action at that step is ignored: it belongs to the episode before.

    A reset row's action is meaningless (zeros here, leftovers in other data): it may not move the new episode's state.
    """
    for step in (0, 3):
        for kind in ("continuous", "discrete"):
            action = toy_action(kind, 3)
            dynamics, chunk = bench.make(action), bench.chunk(2, 6, action, firsts=[(0, step), (1, step)])
            poisoned = chunk.replace(action=chunk.action.clone())
            poisoned.action[:, step] = poisoned.action[:, step].roll(1, -1) * (1.0 if action.is_discrete else -2.0)
            blank = chunk.replace(action=chunk.action.clone())
            blank.action[:, step] = 0.0
            clean = observe(dynamics, blank)
            for name, foul in (("another action", poisoned), ("the data's action", chunk)):
                got = observe(dynamics, foul)
                what = f"with {name} beside action 0, at a border at step {step}, {kind} actions"
                same_latent(got.states, clean.states, f"states {what}")
                same_latent(got.priors, clean.priors, f"priors {what}")


@check("dynamics")
def border_is_initial(bench: DynamicsBench) -> None:
    """Beginning with `state=None` equals beginning anywhere with `is_first`, and equals `initial`.

    Chunks begin fresh in training; episodes begin with is_first when acting: one beginning, not three.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4, firsts=[(0, 0), (1, 0)])
    marked = observe(dynamics, chunk, bench.started(dynamics, 2))
    fresh = observe(dynamics, chunk)
    unmarked = chunk.replace(is_first=torch.zeros_like(chunk.is_first), action=_blank(_blank(chunk.action, 0, 0), 1, 0))
    given = observe(dynamics, unmarked, dynamics.initial(2))
    same(fresh.states.features, marked.states.features, "state=None beside is_first with a carried state")
    same(given.states.features, marked.states.features, "initial(B) and action 0 beside is_first with a carried state")


@check("dynamics")
def causality(bench: DynamicsBench) -> None:
    """Observations and actions that come later change nothing earlier.

    A model that has seen the future predicts it well, and is useless when acting.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 6)
    changed = chunk.replace(embed=chunk.embed.clone(), action=chunk.action.clone())
    changed.embed[:, 3:] += 2.0
    changed.action[:, 3:] *= -1.0
    before, after = observe(dynamics, chunk), observe(dynamics, changed)
    for name in ("states", "priors", "train"):
        what = f"observed.{name}[:, :3] after inputs from step 3 on were changed"
        same_latent(getattr(after, name)[:, :3], getattr(before, name)[:, :3], what)


@check("dynamics")
def prior_is_blind(bench: DynamicsBench) -> None:
    """The prior at step t has not seen the observation at step t.

    It is what imagination must produce without observations; a prior that peeks makes the KL vanish and dreams fail.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 6)
    changed = chunk.replace(embed=chunk.embed.clone())
    changed.embed[:, 3] += 2.0
    before, after = observe(dynamics, chunk), observe(dynamics, changed)
    same_latent(after.priors[:, 3], before.priors[:, 3], "priors[:, 3] after the observation at step 3 was changed")


@check("dynamics")
def inputs_matter(bench: DynamicsBench) -> None:
    """The state at t depends on the observation at t, and the prior at t on the action that led there.

    A model that ignores actions cannot be planned with; its losses may fall all the same.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    seen, moved = chunk.replace(embed=chunk.embed.clone()), chunk.replace(action=chunk.action.clone())
    seen.embed[:, 2] += 2.0
    moved.action[:, 2] *= -1.0
    before = observe(dynamics, chunk)
    states, priors = observe(dynamics, seen).states, observe(dynamics, moved).priors
    for row in range(2):
        what = f"states[{row}, 2] did not change with the observation at step 2"
        differs(_flat(states[row, 2]), _flat(before.states[row, 2]), what)
        what = f"priors[{row}, 2] did not change with the action at step 2"
        differs(_flat(priors[row, 2]), _flat(before.priors[row, 2]), what)


@check("dynamics", requires=["recurrent"])
def remembers(bench: DynamicsBench) -> None:
    """A dynamics that provides "recurrent" carries information beyond the last observation.

    Tasks with hidden velocities rely on the claim.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    changed = chunk.replace(embed=chunk.embed.clone())
    changed.embed[:, 0] += 2.0
    what = "states[:, 3] did not change with the observation at step 0"
    differs(_flat(observe(dynamics, changed).states[:, 3]), _flat(observe(dynamics, chunk).states[:, 3]), what)


@check("dynamics")
def batch_independence(bench: DynamicsBench) -> None:
    """Each row's result depends on that row alone: alone, in a batch and in another order it is the same.

    With noise that belongs to rows (one generator each) this holds for sampling too: it is what makes evaluation
    independent of how many environments run side by side.
    """
    dynamics, chunk = bench.make(), bench.chunk(4, 5, firsts=[(0, 0), (2, 2)])
    order, seeds = [2, 0, 3, 1], [11, 12, 13, 14]
    state = bench.started(dynamics, 4)
    together = observe(dynamics, chunk, state, rows(seeds))
    shuffled = observe(dynamics, chunk[order], state[order], rows([seeds[i] for i in order]))
    same_latent(shuffled.states, together.states[order], "observing the rows in another order")
    action = chunk.action[:, 0]
    step = dynamics.imagine(state, action, rows(seeds))
    for row in range(4):
        alone = observe(dynamics, chunk[row : row + 1], state[row : row + 1], rows([seeds[row]]))
        same_latent(alone.states[0], together.states[row], f"observing row {row} alone beside in a batch of 4")
        single = dynamics.imagine(state[row : row + 1], action[row : row + 1], rows([seeds[row]]))
        same_latent(single[0], step[row], f"imagining row {row} alone beside in a batch of 4")


@check("dynamics")
def imagine_is_prior(bench: DynamicsBench) -> None:
    """One imagined step from the state at t-1 with the action at t is the prior at t that `losses` trains.

    If they differ, training improves one model and planning uses another.
    """
    for kind in ("continuous", "discrete"):
        action = toy_action(kind, 3)
        dynamics, chunk = bench.make(action), bench.chunk(3, 6, action)
        observed = observe(dynamics, chunk)
        imagined = dynamics.imagine(observed.states[:, :-1].flatten(), chunk.action[:, 1:].flatten(0, 1), MODE)
        expected = observed.priors[:, 1:].flatten()
        same_latent(imagined, expected, f"imagine(states[t-1], action[t]) beside priors[t], {kind} actions")


@check("dynamics")
def branch_interleaves(bench: DynamicsBench) -> None:
    """`branch(state, n)` puts the n copies of each state side by side, and copy j is the same whatever the batch.

    Candidates are repeated in the same order; tiling instead pairs plans with other rows' states, and is wrong only
    when the batch is larger than one. An ensemble gives copy j member j mod M, never by global row.
    """
    dynamics = bench.make()
    state = bench.started(dynamics, 3)
    branched = dynamics.branch(state, 4)
    require(
        tuple(branched.batch_shape) == (12,), f"branch of 3 states by 4 has batch shape {tuple(branched.batch_shape)}"
    )
    same(
        branched.features, state.features.repeat_interleave(4, 0), "branch(state, 4).features beside interleaved copies"
    )
    for row in range(3):
        alone = dynamics.branch(state[row : row + 1], 4)
        same_latent(alone, branched[4 * row : 4 * row + 4], f"branch of row {row} alone beside in a batch of 3")


@check("dynamics")
def fan_is_imagine(bench: DynamicsBench) -> None:
    """`fan(state, n, action)` is one imagined step of every state with each of its n actions, state by state.

    Plans are scored by it: a dynamics may compute once what the actions of a state share, and nothing else may differ.
    """
    dynamics = bench.make()
    state, action = bench.started(dynamics, 3), bench.chunk(12, 1).action[:, 0]
    fanned = dynamics.fan(state, 4, action, MODE)
    same_latent(fanned, dynamics.imagine(state.repeat(4), action, MODE), "fan(state, 4, action) beside imagine")


@check("dynamics", requires=["members"])
def members_disagree(bench: DynamicsBench) -> None:
    """An ensemble says how many members it has, and branched copies are predicted by different ones.

    The spread over members is used as uncertainty; copies of one member would make it vanish.
    """
    dynamics = bench.make()
    members = dynamics.members
    require(isinstance(members, int) and members > 1, f"`members` is {members!r}, expected a number above 1")
    count = int(members or 2)
    state = dynamics.branch(bench.started(dynamics, 2), count)
    action = bench.chunk(2, 1).action[:, 0].repeat_interleave(count, 0)
    predicted = dynamics.imagine(state, action, MODE).features.reshape(2, count, -1)
    for j in range(1, count):
        differs(predicted[:, j], predicted[:, 0], f"members 0 and {j} predict the same next state")


@check("dynamics", requires=["open_loop"])
def open_loop_is_blind(bench: DynamicsBench) -> None:
    """With "open_loop", `observed.train` is a rollout: after its first step it sees actions and no observations.

    An implicit model is trained on its own predictions; a peek at later observations would train nothing.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 5, firsts=[(0, 0), (1, 0)])
    changed = chunk.replace(embed=chunk.embed.clone())
    changed.embed[:, 1:] += 2.0
    before, after = observe(dynamics, chunk), observe(dynamics, changed)
    same(after.train.features, before.train.features, "train.features after the observations from step 1 on changed")
    differs(before.train.features[:, 1:], before.states.features[:, 1:], "`train` is the filtered states, no rollout")


@check("dynamics")
def project_is_linear(bench: DynamicsBench) -> None:
    """`latent.project(linear)` equals `linear(latent.features)`, for values and for the layer's gradient.

    First layers read latents only through `project`, which may be answered faster, never differently.
    """
    dynamics = bench.make()
    linear = nn.Linear(dynamics.feature_size, 3)
    for latent in (bench.started(dynamics, 3), observe(dynamics, bench.chunk(2, 3), sampling=rows([1, 2])).states):
        fast, plain = latent.project(linear), linear(latent.features)
        same(fast, plain, "project(linear) beside linear(features)")
        left = torch.autograd.grad(fast.square().sum(), linear.weight, retain_graph=True)[0]
        right = torch.autograd.grad(plain.square().sum(), linear.weight, retain_graph=True)[0]
        same(left, right, "the layer's gradient through project beside that through features")


@check("dynamics")
def state_round_trip(bench: DynamicsBench) -> None:
    """A state is its tensors: saved as a dict and restored, it has the same features and the same future.

    Checkpoints, replayed states and resumed episodes hold only these tensors.
    """
    dynamics = bench.make()
    state = bench.started(dynamics, 3)
    saved = {name: value.clone() for name, value in state.tensors().items()}
    restored = type(state)(**saved)
    same(restored.features, state.features, "features after the round trip")
    same(restored.code, state.code, "code after the round trip")
    action = bench.chunk(3, 1).action[:, 0]
    same_latent(dynamics.imagine(restored, action, MODE), dynamics.imagine(state, action, MODE), "the next state")
    order = torch.tensor([2, 0, 1])
    same(state[order].features, state.features[order], "features of indexed states beside indexed features")
    stacked = type(state).stack([state, state[order]], 1)
    same(stacked.flatten().features, stacked.features.flatten(0, 1), "features of flattened states")


@check("dynamics")
def no_hidden_state(bench: DynamicsBench) -> None:
    """Two equal calls give equal answers, whatever was called between them.

    All memory is in the state. What a module remembers by itself mixes environments, and no checkpoint holds it.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    state = bench.started(dynamics, 2)
    action = chunk.action[:, 0]
    first, step = observe(dynamics, chunk, state), dynamics.imagine(state, action, MODE)
    between = bench.chunk(2, 3, seed=9)
    observe(dynamics, between, sampling=Sampling(generators=[torch.Generator().manual_seed(0)]))
    dynamics.imagine(dynamics.initial(5), bench.chunk(5, 1).action[:, 0], MODE)
    same_latent(observe(dynamics, chunk, state).states, first.states, "observing again")
    same_latent(dynamics.imagine(state, action, MODE), step, "imagining again")


@check("dynamics")
def seeded(bench: DynamicsBench) -> None:
    """All noise comes from `sampling`: equal generators give equal states, and torch's global generator is not used.

    Runs repeat and resume to the same numbers only if every draw can be accounted for.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    state, action = bench.started(dynamics, 2), chunk.action[:, 0]
    results = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            results.append(
                (observe(dynamics, chunk, state, rows([3, 4])), dynamics.imagine(state, action, rows([5, 6])))
            )
            quiet = (observe(dynamics, chunk, state), dynamics.imagine(state, action, MODE))
            require(torch.equal(torch.get_rng_state(), before), "torch's global generator was used")
    same_latent(results[1][0].states, results[0][0].states, "observing with equal generators", 0.0)
    same_latent(results[1][1], results[0][1], "imagining with equal generators", 0.0)
    again = observe(dynamics, chunk, state, rows([8, 9]).with_mode("mode"))
    same_latent(again.states, quiet[0].states, 'observing with mode="mode" and other generators', 0.0)


def _blank(action: torch.Tensor, row: int, step: int) -> torch.Tensor:
    action = action.clone()
    action[row, step] = 0.0
    return action


def _flat(latent: Latent) -> torch.Tensor:
    return torch.cat([value.flatten() for value in numbers(latent).values()])
