"""The assembled agent: every slot of a recipe, and the policy that acts with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reverie.assembly.imagination import Imagination
from reverie.assembly.slots import ModuleMap
from reverie.assembly.state import AgentState, GeneratorPool
from reverie.contracts.behaviour import Actor, Carry, Planner
from reverie.contracts.latent import Latent
from reverie.contracts.model import Decoder, Dynamics, Encoder, Head, Objective
from reverie.contracts.policy import Array
from reverie.contracts.sampling import Sampling
from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.nn import RunningNormalizer, symexp, symlog

Vectors = Literal["none", "symlog", "normalize", "normalize_symlog"]


class Agent(nn.Module):
    """Satisfies `AgentParts` and `Policy`.

    Args:
        observation, action: the environment's spaces.
        encoder, dynamics, decoder, decoders, heads, actor, objectives: the slots; None or empty where there is none.
        planner: what chooses actions; often the actor, or a search that samples proposals from it.
        vectors: preprocessing of vector entries.
        noise: standard deviation of Gaussian exploration noise on continuous actions.
        epsilon: probability of a uniformly random discrete action while exploring.
        frozen: slots whose parameters are never trained.
    """

    encoder: Encoder
    dynamics: Dynamics[Any]
    decoder: Decoder | None
    actor: Actor | None
    planner: Planner
    decoders: ModuleMap[Decoder]
    heads: ModuleMap[Head]
    objectives: ModuleMap[Objective]
    normalizers: ModuleMap[RunningNormalizer]
    anchor: Tensor

    def __init__(
        self,
        observation: ObservationSpec,
        action: ActionSpec,
        *,
        encoder: Encoder,
        dynamics: Dynamics[Any],
        planner: Planner,
        decoder: Decoder | None = None,
        decoders: Mapping[str, Decoder] | None = None,
        heads: Mapping[str, Head] | None = None,
        actor: Actor | None = None,
        objectives: Mapping[str, Objective] | None = None,
        vectors: Vectors = "normalize_symlog",
        noise: float = 0.0,
        epsilon: float = 0.0,
        frozen: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.observation, self.action = observation, action
        self.encoder, self.dynamics, self.decoder, self.actor = encoder, dynamics, decoder, actor
        self.decoders, self.heads = ModuleMap(decoders), ModuleMap(heads)
        self.objectives = ModuleMap(objectives)
        self._set_planner(planner)
        self.vectors, self.noise, self.epsilon = vectors, noise, epsilon
        scaled = observation.vectors if vectors in ("normalize", "normalize_symlog") else {}
        self.normalizers = ModuleMap({key: RunningNormalizer(spec.shape) for key, spec in scaled.items()})
        self.statistics_frozen = False
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # knows the device and the dtype
        self.imagination = Imagination(self)
        self._pool = GeneratorPool()
        self.frozen_slots: frozenset[str] = frozenset()
        self.freeze(frozen)

    # -- slots ---------------------------------------------------------------------------------------------------

    def module(self, slot: str) -> nn.Module:
        filled = self._filled()
        if slot not in filled:
            raise KeyError(f"the slot '{slot}' is empty or holds no module; filled are {', '.join(filled)}")
        return filled[slot]

    def slots(self) -> list[str]:
        return [slot for slot, module in self._filled().items() if next(module.parameters(), None) is not None]

    def _filled(self) -> dict[str, nn.Module]:
        single = {name: self._modules.get(name) for name in ("encoder", "dynamics", "decoder", "actor", "planner")}
        filled = {name: module for name, module in single.items() if module is not None}
        for group in ("decoders", "heads", "objectives"):
            members: ModuleMap[nn.Module] = getattr(self, group)
            filled.update({f"{group}/{name}": module for name, module in members.items()})
        return filled

    def _set_planner(self, planner: Planner) -> None:
        # A planner is registered only where it is a module of its own: the actor may serve as planner and must not be
        # saved twice.
        object.__setattr__(self, "planner", planner)
        if isinstance(planner, nn.Module) and planner is not self._modules.get("actor"):
            self._modules["planner"] = planner

    def freeze(self, slots: Iterable[str]) -> None:
        """Never train these slots from now on."""
        for slot in slots:
            self.module(slot).requires_grad_(False)
            self.frozen_slots |= {slot}

    # -- preprocessing -------------------------------------------------------------------------------------------

    def preprocess(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raw entries (*B, *shape) -> (*B, *model_shape): images to [0, 1] and (C, H, W); vectors by `vectors`."""
        dtype = self.anchor.dtype
        ready = {}
        for key, spec in self.observation.items():
            value = obs[key]
            if spec.is_image:
                ready[key] = value.movedim(-1, -3).to(dtype) / 255  # (*B, C, H, W)
                continue
            value = value.to(torch.promote_types(dtype, torch.float32))  # bfloat16 would round before scaling
            if key in self.normalizers:
                value = self.normalizers[key](value)
            scaled = symlog(value) if self.vectors in ("symlog", "normalize_symlog") else value
            ready[key] = scaled.to(dtype)  # (*B, size)
        return ready

    def postprocess(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back: (*B, *model_shape) -> (*B, *shape) float32 in the environment's own units."""
        raw = {}
        for key, value in entries.items():
            value = value.float()
            if self.observation[key].is_image:
                raw[key] = (value * 255).clamp(0, 255).movedim(-3, -1)  # (*B, H, W, C)
                continue
            if self.vectors in ("symlog", "normalize_symlog"):
                value = symexp(value)
            if key in self.normalizers:
                normalizer = self.normalizers[key]
                value = value * normalizer.std.float() + normalizer.mean.float()
            raw[key] = value  # (*B, size)
        return raw

    def update_statistics(self, obs: Mapping[str, Array | Tensor]) -> None:
        """Let the running mean and deviation of every vector entry see raw rows (n, *shape)."""
        if self.statistics_frozen:
            return
        with torch.no_grad():
            for key, normalizer in self.normalizers.items():
                normalizer.update(self._tensor(key, obs[key]))

    # -- acting --------------------------------------------------------------------------------------------------

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> AgentState:
        """The state of n environments that have not begun; by default environment i has seed i.

        Raises:
            ValueError: if there is not one seed per environment.
        """
        chosen = list(range(n)) if seeds is None else [int(seed) for seed in seeds]
        if len(chosen) != n:
            raise ValueError(f"{len(chosen)} seeds for {n} environments")
        with torch.no_grad():
            return AgentState(
                latent=self.dynamics.initial(n),
                action=self.anchor.new_zeros(n, self.action.size),  # (n, A)
                carry={name: value.to(self.anchor.device) for name, value in self.planner.initial(n).items()},
                seeds=torch.tensor(chosen, dtype=torch.int64),
                steps=torch.zeros(n, dtype=torch.int64),
            )

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: AgentState,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
        mode: Literal["sample", "mode"] | None = None,
        who: Literal["planner", "actor"] = "planner",
    ) -> tuple[Array, AgentState]:
        """One action per environment, and the memory with what will really be executed.

        Args:
            obs: raw entries (n, *shape).
            state: from `initial` or the last call.
            is_first: (n,) bool; where true everything before is forgotten, the executed action included.
            explore: add the recipe's exploration noise.
            mode: whether latents and actions are drawn or the most likely ones; None draws only when exploring.
            who: act with the planner, or with the actor alone.

        Returns:
            (n, A) float32 actions in [-1, 1] or one-hot, and the new state.

        Raises:
            ValueError: for observations that are missing or of the wrong shape, or if there is no actor to act.
        """
        with self._quiet():
            generators = self._pool.at(state.seeds.tolist(), state.steps.tolist())
            sampling = Sampling(mode or ("sample" if explore else "mode"), generators=generators)
            first = torch.as_tensor(is_first, dtype=torch.bool, device=self.anchor.device)  # (n,)
            latent = self._filter(obs, state, first, sampling)
            action, carry = self._choose(latent, state.carry, first, explore, sampling, who)
            if explore:
                action = self._explore(action, sampling)
            if not self.action.is_discrete:
                action = action.clamp(-1.0, 1.0)  # (n, A)
            after = AgentState(latent, action, carry, state.seeds, state.steps + 1)
            executed: Array = action.float().cpu().numpy()
        # Cloned outside of inference mode, so that a state may enter a graph like any other tensor.
        return executed, after.map(Tensor.clone)

    def state_from(self, tensors: Mapping[str, Tensor]) -> AgentState:
        """The state whose `tensors()` these are, on this agent's device."""
        device = self.anchor.device
        latent = {name[7:]: value.to(device) for name, value in tensors.items() if name.startswith("latent.")}
        carry = {name[6:]: value.to(device) for name, value in tensors.items() if name.startswith("carry.")}
        with torch.no_grad():
            template: Latent = self.dynamics.initial(1)
        return AgentState(
            latent=replace(template, **latent),
            action=tensors["action"].to(device),
            carry=carry,
            seeds=tensors["seeds"].cpu(),
            steps=tensors["steps"].cpu(),
        )

    def _quiet(self) -> AbstractContextManager[Any]:
        # Tensors made in inference mode can never enter a graph, so planners by gradient act under no_grad instead.
        return torch.no_grad() if self.planner.differentiates else torch.inference_mode()

    def _filter(
        self, obs: Mapping[str, Array | Tensor], state: AgentState, first: Tensor, sampling: Sampling
    ) -> Latent:
        if not isinstance(obs, Mapping) or not all(key in obs for key in self.observation):
            given = f"the keys {sorted(map(str, obs))}" if isinstance(obs, Mapping) else type(obs).__name__
            raise ValueError(f"observations are a dict with the keys {sorted(self.observation)}, not {given}")
        raw = {key: self._tensor(key, obs[key]) for key in self.observation}
        counts = {**{key: value.shape[0] for key, value in raw.items()}, "is_first": first.numel()}
        wrong = {key: count for key, count in counts.items() if count != state.action.shape[0]}
        if wrong:
            raise ValueError(f"the state is of {state.action.shape[0]} environments, but these are of others: {wrong}")
        embed = self.encoder(self.preprocess(raw), sampling)  # (n, E)
        latent: Latent = self.dynamics.filter(embed, state.action, first, state.latent, sampling=sampling)  # (n,)
        return latent

    def _choose(
        self, latent: Latent, carry: Carry, first: Tensor, explore: bool, sampling: Sampling, who: str
    ) -> tuple[Tensor, Carry]:
        if carry and bool(first.any()):
            fresh = self.planner.initial(first.shape[0])
            carry = {name: _rows(first, fresh[name].to(value.device), value) for name, value in carry.items()}
        if who == "actor":
            if self.actor is None:
                raise ValueError("this agent has no actor; act with who='planner'")
            # An actor's memory is the latent: the planner's own waits, but never beyond the end of its episode.
            action, _ = self.actor.plan(latent, {}, self.imagination, explore=explore, sampling=sampling)
            return action, carry
        return self.planner.plan(latent, carry, self.imagination, explore=explore, sampling=sampling)

    def _explore(self, action: Tensor, sampling: Sampling) -> Tensor:
        n, size = action.shape
        if not self.action.is_discrete:
            if self.noise == 0:
                return action
            return action + self.noise * sampling.randn((n, size)).to(action)  # (n, A)
        if self.epsilon == 0:
            return action
        chance = sampling.rand((n, 2)).to(action)  # (n, 2): whether, and which
        which = (chance[:, 1] * size).long().clamp(max=size - 1)
        uniform = nn.functional.one_hot(which, size).to(action)  # (n, A)
        return torch.where(chance[:, :1] < self.epsilon, uniform, action)

    def _tensor(self, key: str, value: Array | Tensor) -> Tensor:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value if value.flags.writeable else value.copy())
        shape = self.observation[key].shape
        if value.shape[1:] != shape:
            raise ValueError(
                f"observation '{key}' has shape {tuple(value.shape)}, not (n, {', '.join(map(str, shape))})"
            )
        return value.to(self.anchor.device)


def _rows(mask: Tensor, mine: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *([1] * (theirs.dim() - 1))), mine, theirs)
