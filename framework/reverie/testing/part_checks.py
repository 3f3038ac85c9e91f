"""Checks of encoders, decoders and heads: shapes over spaces, log-probabilities, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from reverie.contracts import ActionSpec, ArraySpec, Decoder, Encoder, Head, ObservationSpec, Transition
from reverie.testing.dynamics_bench import rows, shaken
from reverie.testing.expect import differs, finite, require, same, shape
from reverie.testing.kit import check
from reverie.testing.subject import Subject
from reverie.testing.toy_imagination import point_latent
from reverie.testing.toys import random_actions, toy_action

IMAGE = (64, 64, 3)


def spaces(provides: frozenset[str]) -> dict[str, ObservationSpec]:
    """The observation spaces that a component with these capabilities must take."""
    vectors = {"state": ArraySpec((5,), "float32"), "touch": ArraySpec((2,), "float32")}
    images = {"camera": ArraySpec(IMAGE, "uint8", 0, 255), "wrist": ArraySpec((64, 64, 1), "uint8", 0, 255)}
    found: dict[str, dict[str, ArraySpec]] = {}
    if "vector" in provides:
        found |= {"one vector": {"state": vectors["state"]}, "two vectors": vectors}
    if "image" in provides:
        found |= {"one image": {"camera": images["camera"]}, "two images": images}
    if {"vector", "image"} <= provides:
        found["vectors and images"] = {**vectors, **images}
    return {name: ObservationSpec(entries) for name, entries in found.items()}


def entries(observation: ObservationSpec, *batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random preprocessed entries (*batch, *model_shape); images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for key, spec in observation.items():
        noise = torch.rand if spec.is_image else torch.randn
        found[key] = noise(*batch, *spec.model_shape, generator=generator)
    return found


class EncoderBench:
    """Makes the encoder under test for each kind of observation that it claims."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.spaces = subject, spaces(subject.provides)

    def make(self, observation: ObservationSpec) -> Encoder:
        made: Encoder = _made(self.subject, observation)
        return made


class DecoderBench(EncoderBench):
    """Makes the decoder under test for each kind of observation that it claims."""

    def code_size(self, observation: ObservationSpec) -> int:
        """As many numbers as the vector entries where it says that its code is the observation, else any number."""
        if "observation" in self.subject.needs.provides.get("encoder", ()):
            return sum(math.prod(spec.shape) for spec in observation.vectors.values())
        return 7

    def decoder(self, observation: ObservationSpec) -> Decoder:
        made: Decoder = _made(self.subject, self.code_size(observation), observation)
        return made

    def code(self, observation: ObservationSpec, *batch: int) -> Tensor:
        """Random codes (*batch, C)."""
        return torch.randn(*batch, self.code_size(observation), generator=torch.Generator().manual_seed(1))


class HeadBench:
    """Makes the head under test."""

    feature_size = 6

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def make(self, action: ActionSpec) -> Head:
        made: Head = _made(self.subject, self.feature_size, action)
        return made

    def transition(self, action: ActionSpec, *batch: int, seed: int = 0) -> Transition:
        generator = torch.Generator().manual_seed(seed)
        before, after = (torch.randn(*batch, self.feature_size, generator=generator) for _ in range(2))
        return Transition(point_latent(before), random_actions(batch, action, generator), point_latent(after))


BENCHES: Mapping[str, Callable[[Any], Any]] = {"encoder": EncoderBench, "decoder": DecoderBench, "head": HeadBench}


def _made(subject: Subject, *arguments: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = subject.target(subject.config, *arguments)
        shaken(made, 0.02)
    return made


@check("encoder")
def embeds_every_space(bench: EncoderBench) -> None:
    """Every claimed kind of observation becomes (*B, E) for any leading dimensions, with E = `embed_size`.

    Acting has (n, 1), training (B, T); dictionaries mix vectors and images of several sizes.
    """
    require(bool(bench.spaces), "it provides neither 'vector' nor 'image'")
    for name, observation in bench.spaces.items():
        encoder = bench.make(observation)
        for batch in ((2, 3), (1, 1), (2,)):
            embed = encoder(entries(observation, *batch), rows([1]))
            shape(embed, (*batch, encoder.embed_size), f"embedding of {name}, batch {batch}")
            finite(embed, f"embedding of {name}")


@check("encoder")
def embeds_rows_alone(bench: EncoderBench) -> None:
    """Each observation is embedded by itself: flattened, reordered or alone, it is the same.

    Batch statistics would make acting differ from training.
    """
    for name, observation in bench.spaces.items():
        encoder, obs = bench.make(observation), entries(observation, 2, 3)
        mode = rows([1]).with_mode("mode")
        together = encoder(obs, mode)
        alone = encoder({key: value[1, 2][None] for key, value in obs.items()}, mode)
        same(alone[0], together[1, 2], f"embedding of {name}, alone beside in a batch")


@check("encoder")
def embeds_every_entry(bench: EncoderBench) -> None:
    """Every entry of the observation moves the embedding, and every parameter gets a gradient.

    An entry that is dropped in silence makes a task unsolvable.
    """
    for name, observation in bench.spaces.items():
        encoder, obs = bench.make(observation), entries(observation, 4, 3)
        before = encoder(obs, rows([1]))
        for key in observation:
            after = encoder({**obs, key: entries(observation, 4, 3, seed=1)[key]}, rows([1]))
            differs(after, before, f"the embedding of {name} does not depend on '{key}'")
        _no_dead(encoder, before, f"encoder of {name}")


@check("encoder", requires=["posterior"])
def posterior_is_embedding(bench: EncoderBench) -> None:
    """With "posterior", the embedding is a draw of it: batch shape (*B), event (E,), mode equal to mode.

    The view draws the embedding from the posterior, so that a VAE needs one forward pass and not two.
    """
    for name, observation in bench.spaces.items():
        encoder, obs = bench.make(observation), entries(observation, 2, 3)
        posterior = encoder.posterior(obs)
        require(tuple(posterior.batch_shape) == (2, 3), f"{name}: batch_shape is {tuple(posterior.batch_shape)}")
        mode = rows([1]).with_mode("mode")
        same(encoder(obs, mode), mode.draw(posterior), f"{name}: forward beside the posterior's mode")
        same(encoder(obs, rows([1])), rows([1]).draw(posterior), f"{name}: forward beside a draw of the posterior")


@check("decoder")
def decodes_every_entry(bench: DecoderBench) -> None:
    """For every entry a distribution: batch shape (*B), event shape that of the preprocessed entry, finite means.

    Losses, videos and metrics read the entries by name.
    """
    require(bool(bench.spaces), "it provides neither 'vector' nor 'image'")
    for name, observation in bench.spaces.items():
        decoder = bench.decoder(observation)
        for batch in ((2, 3), (1, 1), (2,)):
            predicted = decoder(bench.code(observation, *batch))
            require(
                set(predicted) == set(observation), f"{name}: entries {sorted(predicted)}, not {sorted(observation)}"
            )
            for key, spec in observation.items():
                what = f"'{key}' of {name}, batch {batch}"
                shape(predicted[key].mean, (*batch, *spec.model_shape), f"mean of {what}")
                found = (tuple(predicted[key].batch_shape), tuple(predicted[key].event_shape))
                require(found == (batch, spec.model_shape), f"{what}: batch and event shape are {found}")
                finite(predicted[key].mean, f"mean of {what}")


@check("decoder")
def likelihood_over_batch(bench: DecoderBench) -> None:
    """`log_prob` sums over the entry and keeps the batch, is finite, and is highest near the distribution's own mode.

    A likelihood averaged over pixels is thousands of times too small beside the KL.
    """
    for name, observation in bench.spaces.items():
        decoder = bench.decoder(observation)
        predicted = decoder(bench.code(observation, 2, 3))
        for key, target in entries(observation, 2, 3).items():
            value = predicted[key].log_prob(target)
            shape(value, (2, 3), f"log_prob of '{key}' of {name}")
            finite(value, f"log_prob of '{key}' of {name}")
            best = predicted[key].log_prob(predicted[key].mode.detach())
            worse = int((best < value - 1e-4).sum())
            require(worse == 0, f"'{key}' of {name}: at {worse} of 6 places another value is likelier than the mode")


@check("decoder")
def decoder_has_no_dead_parameters(bench: DecoderBench) -> None:
    """Every parameter, and the code, gets a gradient from the log-probability of all entries together."""
    for name, observation in bench.spaces.items():
        decoder = bench.decoder(observation)
        code = bench.code(observation, 4, 3).requires_grad_()
        predicted = decoder(code)
        total = torch.stack([predicted[key].log_prob(v).sum() for key, v in entries(observation, 4, 3).items()]).sum()
        reached = torch.autograd.grad(total, code, retain_graph=True, allow_unused=True)[0]
        require(reached is not None and bool(reached.abs().sum() > 0), f"decoder of {name}: none reaches the code")
        _no_dead(decoder, total, f"decoder of {name}")


@check("head")
def head_shapes(bench: HeadBench) -> None:
    """A head gives one number per state (and per member): batch shape (*B) or (*B, M), scalar events.

    With B = T = M, a wrong axis broadcasts in silence: the kit uses distinct sizes.
    """
    for action in (toy_action("continuous", 3), toy_action("discrete", 3)):
        head = bench.make(action)
        for batch in ((2, 5), (1, 1), (7,)):
            predicted = head(bench.transition(action, *batch))
            expected = (*batch, head.members) if head.members else batch
            shape(predicted.mean, expected, f"mean for batch {batch}")
            require(tuple(predicted.batch_shape) == expected, f"batch_shape {tuple(predicted.batch_shape)} for {batch}")
            require(tuple(predicted.event_shape) == (), f"event_shape is {tuple(predicted.event_shape)}, expected ()")
            value = predicted.log_prob(torch.ones(expected))
            shape(value, expected, f"log_prob for batch {batch}")
            finite(value, f"log_prob for batch {batch}")


@check("head")
def head_reads_what_it_says(bench: HeadBench) -> None:
    """A head works with exactly the parts of the transition that `reads` names, and uses each of them.

    "after" sees the state after the step alone; "before_action" the state before and the action; "transition" all.
    """
    action = toy_action("continuous", 3)
    head = bench.make(action)
    used = {"after": ("after",), "before_action": ("before", "action"), "transition": ("before", "action", "after")}
    require(head.reads in used, f"`reads` is {head.reads!r}; it may be {', '.join(used)}")
    full, other = bench.transition(action, 2, 5), bench.transition(action, 2, 5, seed=1)
    parts = {name: getattr(full, name) if name in used[head.reads] else None for name in ("before", "action", "after")}
    before = head(Transition(**parts)).mean
    for name in used[head.reads]:
        changed = head(Transition(**{**parts, name: getattr(other, name)})).mean
        differs(changed, before, f"the prediction does not depend on `{name}`, although reads is '{head.reads}'")


@check("head")
def head_learns(bench: HeadBench) -> None:
    """Every parameter gets a gradient from the log-probability, and following it raises the likelihood of the targets.

    Targets lie in [0, 1], which suits rewards, continuation and values alike.
    """
    action = toy_action("continuous", 3)
    head, transition = bench.make(action), bench.transition(action, 4, 6)
    batch = (4, 6, head.members) if head.members else (4, 6)
    targets = (torch.rand(4, 6, generator=torch.Generator().manual_seed(5)) > 0.5).float()
    targets = (targets[..., None] if head.members else targets).expand(batch)  # (4, 6) or (4, 6, M)
    _no_dead(head, head(transition).log_prob(targets).mean(), "head")
    before = float((head(transition).mean - targets).abs().mean().detach())
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        loss = -head(transition).log_prob(targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    after = float((head(transition).mean - targets).abs().mean().detach())
    require(after < before, f"the mean absolute error of the mean went from {before:.4g} to {after:.4g}")
    require(
        history[-1] < history[0] - 0.01, f"the negative log-likelihood went from {history[0]:.4g} to {history[-1]:.4g}"
    )


def _no_dead(module: torch.nn.Module, output: Tensor, what: str) -> None:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not named:
        return
    found = torch.autograd.grad((output * weights).sum(), list(named.values()), allow_unused=True)
    dead = [name for name, grad in zip(named, found, strict=True) if grad is None or not grad.abs().max() > 0]
    require(not dead, f"{what}: no gradient reaches {', '.join(dead)}")
