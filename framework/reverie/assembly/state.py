"""What the agent remembers between two actions, per environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reverie.contracts.behaviour import Carry
from reverie.contracts.latent import Latent


@dataclass(frozen=True)
class AgentState:
    """The memory of n environments side by side: plain tensors, so that it is saved and moved like any others.

    Args:
        latent: (n,) filtered states.
        action: (n, A), the action that was executed last, after exploration noise and clipping.
        carry: the planner's memory, each (n, ...).
        seeds: (n,) int64; with `steps` it decides all random numbers of an environment.
        steps: (n,) int64, the calls of `act` so far.
    """

    latent: Latent
    action: Tensor
    carry: Carry
    seeds: Tensor
    steps: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of it under flat names; `Agent.state_from` restores it."""
        return {
            **{f"latent.{name}": value for name, value in self.latent.tensors().items()},
            **{f"carry.{name}": value for name, value in self.carry.items()},
            "action": self.action,
            "seeds": self.seeds,
            "steps": self.steps,
        }

    def map(self, function: Callable[[Tensor], Tensor]) -> AgentState:
        """The same state with `function` applied to every tensor."""
        return AgentState(
            latent=self.latent.map(function),
            action=function(self.action),
            carry={name: function(value) for name, value in self.carry.items()},
            seeds=function(self.seeds),
            steps=function(self.steps),
        )

    def to(self, device: torch.device | str) -> AgentState:
        """Moved, except for `seeds` and `steps`, which stay where Python reads them."""
        moved = self.map(lambda value: value.to(device))
        return replace(moved, seeds=self.seeds, steps=self.steps)

    def __getitem__(self, rows: Any) -> AgentState:
        """Some of the environments: a slice, a list of indices or a mask."""
        return self.map(lambda value: value[rows])

    def __len__(self) -> int:
        return self.action.shape[0]

    def executed(self, action: Any) -> AgentState:
        """The same state after another action (n, A) was executed instead of the agent's own."""
        taken = torch.as_tensor(action, dtype=self.action.dtype, device=self.action.device)
        if taken.shape != self.action.shape:
            raise ValueError(f"the executed action has shape {tuple(taken.shape)}, not {tuple(self.action.shape)}")
        return replace(self, action=taken.clone())


class GeneratorPool:
    """Generators to reseed at every call: scratch, never state. Reseeding costs about a microsecond."""

    def __init__(self) -> None:
        self._generators: list[torch.Generator] = []

    def at(self, seeds: Sequence[int], steps: Sequence[int]) -> list[torch.Generator]:
        """One generator per environment, seeded from its seed and step alone."""
        while len(self._generators) < len(seeds):
            self._generators.append(torch.Generator())
        chosen = self._generators[: len(seeds)]
        for generator, seed, step in zip(chosen, seeds, steps, strict=True):
            generator.manual_seed(mix(seed, step))
        return chosen

    def __deepcopy__(self, memo: dict[int, Any]) -> GeneratorPool:
        return GeneratorPool()

    def __reduce__(self) -> tuple[type[GeneratorPool], tuple[()]]:
        return GeneratorPool, ()


_MASK = (1 << 64) - 1


def mix(seed: int, step: int) -> int:
    """A well-spread 32-bit seed from two integers (two rounds of the splitmix64 finaliser).

    torch's CPU generator keeps the low 32 bits of its seed, so neighbouring pairs have to be spread over those.
    """
    value = _finalise((seed & _MASK) + 0x9E3779B97F4A7C15)
    value = _finalise(value ^ (((step & _MASK) * 0xD1342543DE82EF95) & _MASK))
    return value >> 32


def _finalise(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
