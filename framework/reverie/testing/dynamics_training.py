"""Checks of dynamics: gradients, losses, fitting, copying, precision."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn

from reverie.contracts import Dynamics, Latent, Sampling, View
from reverie.testing.dynamics_bench import DynamicsBench, numbers, observe, rows, shaken, weighted
from reverie.testing.expect import finite, require, same, same_latent, shape
from reverie.testing.kit import Violation, check


@check("dynamics")
def losses_per_step(bench: DynamicsBench) -> None:
    """`losses` gives finite floating-point numbers of shape (B, T) under names, episode borders included.

    The framework takes means, masks and gathers over ranks; a scalar or a transposed term would be weighted wrongly.
    """
    for B, T in ((4, 6), (2, 1)):
        dynamics = bench.make()
        terms = dynamics.losses(bench.view(dynamics, B, T))
        require(isinstance(terms, dict), f"losses returned {type(terms).__name__}, expected a dict")
        for name, value in terms.items():
            shape(value, (B, T), f"losses['{name}']")
            require(value.is_floating_point(), f"losses['{name}'] is {value.dtype}")
            finite(value, f"losses['{name}']")


@check("dynamics", requires=["differentiable"])
def gradients_flow(bench: DynamicsBench) -> None:
    """A dynamics that provides "differentiable" carries gradients from imagined features to the action and the state.

    Actors and gradient planners learn through it.
    """
    dynamics = bench.make()
    state = _leaf(bench.started(dynamics, 3))
    action = bench.chunk(3, 1).action[:, 0].requires_grad_()
    features = dynamics.imagine(state, action, rows([1, 2, 3])).features
    require(features.requires_grad, "imagined features carry no graph")
    wanted = {"action": action, **numbers(state)}
    found = torch.autograd.grad(weighted({"features": features}), list(wanted.values()), allow_unused=True)
    got = {name: gradient for name, gradient in zip(wanted, found, strict=True) if _alive(gradient)}
    require("action" in got, "no gradient reaches the action")
    require(len(got) > 1, f"no gradient reaches the state (fields {', '.join(numbers(state))})")
    for row in range(3):
        require(bool(got["action"][row].any()), f"no gradient reaches the action of row {row}")


@check("dynamics")
def border_cuts_gradients(bench: DynamicsBench) -> None:
    """No gradient crosses an episode border, neither to the carried state nor to earlier observations and actions.

    Values may be cut and gradients still leak; the model is then trained to prepare a reset that it cannot know.
    """
    dynamics, step = bench.make(), 2
    chunk = bench.chunk(2, 5, firsts=[(0, step), (1, step)])
    embed, action = chunk.embed.clone().requires_grad_(), chunk.action.clone().requires_grad_()
    state = _leaf(bench.started(dynamics, 2))
    observed = observe(dynamics, chunk.replace(embed=embed, action=action), state, rows([1, 2]))
    after = {f"{name}.{field}": value for name in ("states", "priors", "train")
             for field, value in numbers(getattr(observed, name)[:, step:]).items()}  # fmt: skip
    total = weighted(after)
    if not total.requires_grad:
        return
    inputs = {"embed": embed, "action": action, **{f"state.{name}": value for name, value in numbers(state).items()}}
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    for (name, _), gradient in zip(inputs.items(), found, strict=True):
        if gradient is None:
            continue
        old = gradient if name.startswith("state") else gradient[:, : step + 1 if name == "action" else step]
        size = float(old.abs().max()) if old.numel() else 0.0
        require(size == 0.0, f"a gradient of size {size:.3g} reaches `{name}` from behind the border at step {step}")


@check("dynamics")
def future_gradients(bench: DynamicsBench) -> None:
    """Within an episode, the state at the end depends on earlier inputs through the graph, not only through values.

    A chunk is trained by backpropagation through time; a detach inside `observe` breaks it in silence.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    changed = chunk.replace(embed=chunk.embed.clone())
    changed.embed[:, 0] += 2.0
    moved = observe(dynamics, changed).states.features - observe(dynamics, chunk).states.features
    if float(moved[:, -1].detach().abs().max()) < 1e-6:
        return  # not recurrent: nothing flows, and nothing should
    embed = chunk.embed.clone().requires_grad_()
    features = observe(dynamics, chunk.replace(embed=embed), sampling=rows([1, 2])).states.features[:, -1]
    gradient = torch.autograd.grad(weighted({"features": features}), embed, allow_unused=True)[0]
    alive = _alive(None if gradient is None else gradient[:, 0])
    require(alive, "the last state depends on the first observation, but no gradient reaches it")


@check("dynamics")
def losses_train_imagination(bench: DynamicsBench) -> None:
    """Every parameter that an imagined step reads is trained by `losses`.

    A second transition network that only imagination uses would never learn. (Asked only where there are losses.)
    """
    used: set[str] = set()
    trained: set[str] = set()
    terms: dict[str, Tensor] = {}
    for dynamics, view in _trials(bench):
        state = dynamics.branch(bench.started(dynamics, 2), dynamics.members or 1)
        action = bench.chunk(state.batch_shape[0], 1).action[:, 0]
        used |= _reached(dynamics, weighted(numbers(dynamics.imagine(state, action, view.sampling.with_mode("mode")))))
        terms = dynamics.losses(view)
        trained |= _reached(dynamics, _total(terms))
    idle = sorted(used - trained)
    require(
        not terms or not idle, f"imagination reads these, and no gradient of losses reaches them: {', '.join(idle)}"
    )


@check("dynamics")
def no_dead_parameters(bench: DynamicsBench) -> None:
    """Every parameter gets a gradient from `losses` together with a loss on the states' features and code.

    A parameter without one is a mistake in the wiring, and makes DDP wait for ever.
    """
    alive: set[str] = set()
    for dynamics, view in _trials(bench):
        alive |= _reached(dynamics, _total(dynamics.losses(view)) + _read(view))
    wanted = {name for name, parameter in bench.make().named_parameters() if parameter.requires_grad}
    dead = sorted(wanted - alive)
    require(not dead, f"{len(dead)} of {len(wanted)} parameters never get a gradient: {', '.join(dead)}")


@check("dynamics")
def acting_leaves_no_trace(bench: DynamicsBench) -> None:
    """After acting without gradients, training still reaches the same parameters, and sees changed ones.

    Weights packed and cached under `no_grad` have no gradient later, or are those of yesterday.
    """
    fresh, used = bench.make(), bench.make()
    with torch.inference_mode():
        observed = observe(used, bench.chunk(2, 3))
        used.imagine(observed.last, bench.chunk(2, 1).action[:, 0], rows([1, 2]))
    expected = _reached(fresh, _total(fresh.losses(view := bench.view(fresh))) + _read(view))
    found = _reached(used, _total(used.losses(view := bench.view(used))) + _read(view))
    require(found == expected, f"after acting no gradient reaches {', '.join(sorted(expected - found))}")
    late = bench.make()  # never used before its parameters change
    for dynamics in (late, used):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            shaken(dynamics, 0.1)
    chunk = bench.chunk(2, 3)
    same_latent(observe(used, chunk).states, observe(late, chunk).states, "states after the parameters changed")


_READING = 10.0
"""Weight of reading in `fits_one_batch`: a divergence at full scale must not outweigh the batch."""


@check("dynamics")
def fits_one_batch(bench: DynamicsBench) -> None:
    """On one batch, over and over, its losses plus reading the observation from its features clearly fall.

    What cannot memorise one batch learns nothing. Its actions are zero: nothing but the observations tells steps apart.
    """
    dynamics, history = bench.make(shake=0.0), []
    noise = Sampling(generators=[torch.Generator().manual_seed(8)])  # fresh noise in every step
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        reader = nn.Linear(dynamics.feature_size, bench.embed_size)
    optimizer = torch.optim.Adam([*dynamics.parameters(), *reader.parameters()], lr=5e-3)
    target = bench.view(dynamics, 4, 6).embed.detach()
    guess = float((target - target.mean((0, 1))).square().sum(-1).mean())  # what the mean alone would achieve
    for _ in range(300):
        view = bench.view(dynamics, 4, 6, sampling=noise, still=True)
        read = (reader(view.observed.train.features) - target).square().sum(-1).mean()
        loss = _READING * read + _total(dynamics.losses(view))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(dynamics.parameters(), 10.0)
        optimizer.step()
        history.append((float(loss.detach()), float(read.detach())))
        if _fell(history, guess):
            return
    (began, read_began), (ended, read_ended) = history[0], _recent(history)
    raise Violation(
        f"in {len(history)} steps the total went {began:.3g} -> {ended:.3g}, the squared error of reading the "
        f"observation {read_began:.3g} -> {read_ended:.3g}; it must come below 0.7 of what guessing the mean gives "
        f"({guess:.3g}), and the total must fall by as much"
    )


def _fell(history: list[tuple[float, float]], guess: float) -> bool:
    """Whether reading beats a guess clearly, and the total fell too (losses with a floor cannot be asked for more)."""
    (began, _), (ended, read_ended) = history[0], _recent(history)
    return len(history) >= 10 and read_ended < 0.7 * guess and ended < began - 0.2 * guess


def _recent(history: list[tuple[float, float]]) -> tuple[float, float]:
    """The means of the last ten entries."""
    last = history[-10:]
    return sum(total for total, _ in last) / len(last), sum(read for _, read in last) / len(last)


@check("dynamics")
def copies_deeply(bench: DynamicsBench) -> None:
    """A deep copy, made after training steps, computes the same and shares no tensor with the original.

    Slow copies, evaluation copies and from_run all copy modules.
    """
    dynamics, chunk = bench.make(), bench.chunk(2, 4)
    _total(dynamics.losses(bench.view(dynamics)))
    twin: Dynamics[Any] = copy.deepcopy(dynamics)
    expected = observe(dynamics, chunk).states
    same_latent(observe(twin, chunk).states, expected, "the copy's states")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        shaken(twin, 1.0)
    same_latent(observe(dynamics, chunk).states, expected, "the original's states after the copy was changed")


@check("dynamics")
def saves_and_loads(bench: DynamicsBench) -> None:
    """`state_dict` holds all that a freshly made module needs to compute the same.

    A tensor that is neither parameter nor buffer is lost in every checkpoint.
    """
    dynamics, chunk = bench.make(seed=0), bench.chunk(2, 4)
    file = io.BytesIO()
    torch.save(dynamics.state_dict(), file)
    file.seek(0)
    other = bench.make(seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    expected = observe(dynamics, chunk).states
    same_latent(observe(other, chunk).states, expected, "states of another module with the same state_dict")


@check("dynamics")
def precision(bench: DynamicsBench) -> None:
    """In float64 every state and loss is float64, and nearly what it is in float32.

    A tensor made in torch's default dtype inside breaks `64-true` and `bf16-true`, or hides a rounding.
    """
    single, double = bench.make(), bench.make().double()
    chunk = bench.chunk(2, 4, firsts=[(0, 2)])
    wide = observe(double, chunk.to(torch.float64))
    for name, value in [*numbers(wide.states).items(), *numbers(double.initial(2)).items()]:
        require(value.dtype == torch.float64, f"field '{name}' is {value.dtype} in a float64 module")
    same(wide.states.features, observe(single, chunk).states.features, "features in float64 beside float32", 1e-3)
    for name, value in double.losses(bench.view(double)).items():
        require(value.dtype == torch.float64, f"losses['{name}'] is {value.dtype} in a float64 module")
        finite(value, f"losses['{name}']")


@check("dynamics")
def devices(bench: DynamicsBench) -> None:
    """Moving the module moves everything in it, and results live where the module lives.

    Checked on a GPU where there is one; elsewhere by looking for tensors that `.to(device)` does not reach.
    """
    dynamics = bench.make()
    observe(dynamics, bench.chunk(2, 3))
    moved: Dynamics[Any] = copy.deepcopy(dynamics).to("meta")
    for path, module in moved.named_modules():
        left = [
            name for name, value in vars(module).items() if isinstance(value, Tensor) and value.device.type != "meta"
        ]
        where = f"in '{path}'" if path else "at its top"
        require(not left, f"plain tensors {where} stay behind: {', '.join(left)}; register them as buffers")
    started = moved.initial(2)
    require(started.device.type == "meta", f"initial(2) is on '{started.device}', the parameters are elsewhere")
    if torch.cuda.is_available():
        _on_gpu(bench, dynamics)


def _on_gpu(bench: DynamicsBench, dynamics: Dynamics[Any]) -> None:
    chunk = bench.chunk(2, 3, firsts=[(0, 1)])
    expected = observe(dynamics, chunk)
    there = copy.deepcopy(dynamics).to("cuda")
    placed = chunk.replace(**{name: value.to("cuda") for name, value in chunk.__dict__.items()})
    found = observe(there, placed, sampling=rows([1, 2]).with_mode("mode"))
    same(found.states.features.cpu(), expected.states.features, "features on the GPU beside the CPU", 1e-2)
    drawn = there.imagine(found.last, placed.action[:, 0], rows([1, 2]))
    require(drawn.device.type == "cuda", f"an imagined state is on '{drawn.device}'")


def _trials(bench: DynamicsBench) -> list[tuple[Dynamics[Any], View]]:
    """The dynamics under several circumstances, so that a floor on a loss or a saturated unit hides no gradient."""
    found = []
    for shake, scale, seed in ((0.1, 1.0, 0), (0.1, 5.0, 1), (0.5, 1.0, 2), (0.5, 5.0, 3)):
        dynamics = bench.make(shake=shake, seed=seed)
        found.append((dynamics, bench.view(dynamics, 6, 7, scale=scale, seed=seed)))
    return found


def _read(view: View) -> Tensor:
    observed = view.observed
    latents = {"states": observed.states, "train": observed.train}
    values = {f"{name}.features": latent.features for name, latent in latents.items()}
    return weighted(values | {f"{name}.code": latent.code for name, latent in latents.items()})


def _total(terms: dict[str, Tensor]) -> Tensor:
    return sum((value.mean() for value in terms.values()), torch.zeros(()))


def _reached(module: nn.Module, total: Tensor) -> set[str]:
    """The names of the parameters that a scalar has a non-zero gradient for."""
    if not total.requires_grad:
        return set()
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {name for name, gradient in zip(named, found, strict=True) if _alive(gradient)}


def _alive(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.abs().max() > 0)


def _leaf(state: Latent) -> Any:
    """The state as leaves of a new graph."""
    return state.map(lambda value: value.detach().clone().requires_grad_() if value.is_floating_point() else value)
