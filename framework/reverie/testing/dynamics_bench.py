"""What the dynamics checks share: a component ready to run, with its parameters shaken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverie.contracts import ActionSpec, Batch, Dynamics, Latent, Observed, Sampling, View
from reverie.testing.subject import Subject
from reverie.testing.toys import (
    ToyAgent,
    ToyEncoder,
    ToyPosteriorEncoder,
    random_actions,
    toy_action,
    toy_batch,
    toy_observation,
)

MODE = Sampling(mode="mode")


@dataclass(frozen=True)
class Chunk:
    """What `observe` takes: embed (B, T, E), action (B, T, A), is_first (B, T)."""

    embed: Tensor
    action: Tensor
    is_first: Tensor

    def __getitem__(self, index: Any) -> Chunk:
        return Chunk(self.embed[index], self.action[index], self.is_first[index])

    def to(self, dtype: torch.dtype) -> Chunk:
        return Chunk(self.embed.to(dtype), self.action.to(dtype), self.is_first)

    def replace(self, **changes: Tensor) -> Chunk:
        return Chunk(**{**self.__dict__, **changes})


class DynamicsBench:
    """Makes the dynamics under test and the inputs that it is tried on.

    Parameters are shaken by a little noise, so that an output layer that begins at zero cannot hide anything.
    """

    embed_size = 6

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.observation = toy_observation()

    def make(self, action: ActionSpec | None = None, seed: int = 0, shake: float = 0.1) -> Dynamics[Any]:
        """The dynamics, freshly made from a fixed seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: Dynamics[Any] = self.subject.target(self.subject.config, self.embed_size, action or toy_action())
            shaken(made, shake)
        return made

    def chunk(
        self, B: int, T: int, action: ActionSpec | None = None, *, seed: int = 1, firsts: Sequence[tuple[int, int]] = ()
    ) -> Chunk:
        """Random input whose only episode borders are at the (row, step) pairs in `firsts`."""
        generator = torch.Generator().manual_seed(seed)
        is_first = torch.zeros(B, T, dtype=torch.bool)
        for row, step in firsts:
            is_first[row, step] = True
        embed = torch.randn(B, T, self.embed_size, generator=generator)
        return Chunk(embed, random_actions((B, T), action or toy_action(), generator), is_first)

    def started(self, dynamics: Dynamics[Any], B: int, action: ActionSpec | None = None, seed: int = 5) -> Any:
        """(B,) states that differ from each other and from `initial`."""
        chunk = self.chunk(B, 3, action, seed=seed)
        with torch.no_grad():
            return observe(dynamics, chunk).last

    def view(
        self, dynamics: Dynamics[Any], B: int = 4, T: int = 6, *, seed: int = 2, scale: float = 1.0,
        sampling: Sampling | None = None, still: bool = False,
    ) -> View:  # fmt: skip
        """A batch with episode borders, seen through a toy encoder (with a posterior where one is needed). `still`:
        every action is zero."""
        provided = self.subject.needs.provides.get("encoder", ())
        encoder_class = ToyPosteriorEncoder if "posterior" in provided else ToyEncoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = encoder_class(None, self.observation, self.embed_size)
            agent = ToyAgent(self.observation, toy_action(), encoder=encoder, dynamics=dynamics)
        dtype = next(iter(dynamics.parameters()), torch.empty(0)).dtype
        agent.to(dtype)
        batch = toy_batch(B, T, self.observation, toy_action(), seed)
        batch = batch.map(lambda value: value.to(dtype) * scale if value.is_floating_point() else value)
        if still:
            batch = _with_action(batch, torch.zeros_like(batch.action))
        elif scale != 1.0:  # the observations are larger, the actions stay legal
            batch = _with_action(batch, batch.action / scale)
        return View(batch, agent, sampling or Sampling(generators=[torch.Generator().manual_seed(seed)]))


def observe(dynamics: Dynamics[Any], chunk: Chunk, state: Any = None, sampling: Sampling = MODE) -> Observed[Any]:
    """`dynamics.observe` of a chunk."""
    return dynamics.observe(chunk.embed, chunk.action, chunk.is_first, state, sampling=sampling)


def rows(seeds: Sequence[int]) -> Sampling:
    """Noise that belongs to rows: row i draws from a generator seeded with `seeds[i]`."""
    return Sampling(generators=[torch.Generator().manual_seed(seed) for seed in seeds])


def shaken(module: nn.Module, scale: float) -> None:
    """Add noise to every parameter, in place, from torch's global generator."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(scale * torch.randn_like(parameter))


def numbers(latent: Latent) -> dict[str, Tensor]:
    """The floating-point fields of a latent."""
    return {name: value for name, value in latent.tensors().items() if value.is_floating_point()}


def weighted(values: dict[str, Tensor], seed: int = 3) -> Tensor:
    """A scalar that depends on every number with a weight of its own, so that nothing cancels."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(())
    for value in values.values():
        total = total + (value * torch.randn(value.shape, generator=generator).to(value)).sum()
    return total


def _with_action(batch: Batch, action: Tensor) -> Batch:
    return Batch(**{**batch.__dict__, "action": action})
