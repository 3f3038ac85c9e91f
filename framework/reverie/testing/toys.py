"""Tiny components with answers that one can work out by hand. Used by the kit and by tests everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverie.contracts import (
    ActionSpec,
    Actor,
    ArraySpec,
    Batch,
    Decoder,
    Distribution,
    Dynamics,
    Encoder,
    Head,
    Imagination,
    Latent,
    Objective,
    ObservationSpec,
    Observed,
    Planner,
    Sampling,
    Transition,
    View,
)
from reverie.testing.toy_distributions import ToyNormal, ToyOneHot
from reverie.testing.toy_imagination import PointMass, ToyLatent, ToyPlanner, point_latent

__all__ = [
    "LinearDynamics",
    "PointMass",
    "ToyActor",
    "ToyAgent",
    "ToyDecoder",
    "ToyEmbedDecoder",
    "ToyEncoder",
    "ToyHead",
    "ToyLatent",
    "ToyNormal",
    "ToyObjective",
    "ToyOneHot",
    "ToyPlanner",
    "ToyPosteriorEncoder",
    "point_latent",
    "random_actions",
    "toy_action",
    "toy_batch",
    "toy_observation",
]


def toy_observation(*, size: int = 5, image: bool = False, second: bool = False) -> ObservationSpec:
    """A vector `state`, and on request a second vector `touch` and an 8 x 12 image `camera`."""
    entries = {"state": ArraySpec((size,), "float32")}
    if second:
        entries["touch"] = ArraySpec((2,), "float32", -1.0, 1.0)
    if image:
        entries["camera"] = ArraySpec((8, 12, 3), "uint8", 0, 255)
    return ObservationSpec(entries)


def toy_action(kind: str = "continuous", size: int = 2) -> ActionSpec:
    """A small action space of either kind."""
    return ActionSpec("discrete" if kind == "discrete" else "continuous", size)


def random_actions(shape: Sequence[int], action: ActionSpec, generator: torch.Generator | None = None) -> Tensor:
    """Uniformly random legal actions, (*shape, A)."""
    if action.is_discrete:
        index = torch.randint(action.size, tuple(shape), generator=generator)
        return nn.functional.one_hot(index, action.size).float()
    return torch.rand(*shape, action.size, generator=generator) * 2 - 1


def toy_batch(
    B: int = 3,
    T: int = 7,
    observation: ObservationSpec | None = None,
    action: ActionSpec | None = None,
    seed: int = 0,
    *,
    borders: bool = True,
) -> Batch:
    """Random experience in the standard form: arrival-aligned, with episode borders inside the chunks.

    Row 0 begins with a reset, row 1 in the middle of an episode; further borders fall at random (each at least two
    steps after the one before). About half of the ends are true ones. Reset rows have action 0 and reward 0.
    """
    observation, action = observation or toy_observation(), action or toy_action()
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[::2, 0] = True
    if borders:
        for row in range(B):
            if T >= 4:
                is_first[row, 2 + int(torch.randint(T - 2, (), generator=generator))] = True
    is_last = torch.zeros(B, T, dtype=torch.bool)
    is_last[:, :-1] = is_first[:, 1:]
    is_terminal = is_last & (torch.rand(B, T, generator=generator) < 0.5)
    obs = {}
    for key, spec in observation.items():
        if spec.is_image:
            obs[key] = torch.randint(0, 256, (B, T, *spec.shape), generator=generator, dtype=torch.uint8)
        else:
            low, high = max(spec.low, -3.0), min(spec.high, 3.0)
            obs[key] = torch.randn(B, T, *spec.shape, generator=generator).clamp(low, high)
    chosen = random_actions((B, T), action, generator)  # (B, T, A)
    keep = (~is_first).float()
    return Batch(
        obs=obs,
        action=chosen * keep[..., None],
        reward=torch.randn(B, T, generator=generator) * keep,
        is_first=is_first,
        is_terminal=is_terminal,
        is_last=is_last,
        step_id=torch.arange(B * T).reshape(B, T),
    )


@dataclass(frozen=True)
class ToyOptions:
    """Sizes of the toys, for those who want others than the defaults."""

    size: int = 4


class ToyEncoder(Encoder):
    """One linear layer over all entries, flattened and joined. (*B, *shape) -> (*B, E)."""

    def __init__(self, config: Any, observation: ObservationSpec, embed_size: int = 6) -> None:
        super().__init__(config, observation)
        self.observation = observation
        self.embed_size = embed_size
        inputs = sum(int(torch.Size(spec.model_shape).numel()) for spec in observation.values())
        self.linear = nn.Linear(inputs, embed_size)

    def flat(self, obs: Mapping[str, Tensor]) -> Tensor:
        """(*B, sum of all sizes)."""
        parts = [obs[key].flatten(obs[key].dim() - len(spec.model_shape)) for key, spec in self.observation.items()]
        return torch.cat(parts, -1)

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        embed: Tensor = self.linear(self.flat(obs))  # (*B, E)
        return embed


class ToyPosteriorEncoder(ToyEncoder):
    """A `ToyEncoder` that provides "posterior": a unit normal of standard deviation 0.1 around the embedding."""

    def posterior(self, obs: dict[str, Tensor]) -> Distribution:
        return ToyNormal(self.linear(self.flat(obs)), 0.1)

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        return sampling.draw(self.posterior(obs))


class LinearDynamics(Dynamics[ToyLatent]):
    """A linear Gaussian state space model with a fixed noise of 0.1.

    Prior mean: `transition([x, a])`. Posterior mean: prior mean + `correction([embed, prior mean])`. The state of
    D numbers is `x`, drawn around `mean`. Losses: squared distance of the two means, split as dyn and rep.
    """

    noise = 0.1

    def __init__(self, config: Any, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.size = int(getattr(config, "size", ToyOptions.size))
        self.feature_size = self.code_size = self.size
        self.transition = nn.Linear(self.size + action.size, self.size)
        self.correction = nn.Linear(embed_size + self.size, self.size)

    def initial(self, batch_size: int) -> ToyLatent:
        zeros = self.transition.weight.new_zeros(batch_size, self.size)  # (B, D)
        return ToyLatent(zeros, zeros)

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: ToyLatent | None = None, *, sampling: Sampling
    ) -> Observed[ToyLatent]:
        B, T = is_first.shape
        last = self.initial(B) if state is None else state
        states, priors = [], []
        for t in range(T):
            last, act = self._forget(last, action[:, t], is_first[:, t])
            mean = self.transition(torch.cat([last.x, act], -1))  # (B, D)
            priors.append(self._draw(mean, sampling))
            mean = mean + self.correction(torch.cat([embed[:, t], mean], -1))  # (B, D)
            last = self._draw(mean, sampling)
            states.append(last)
        filtered, prior = ToyLatent.stack(states, 1), ToyLatent.stack(priors, 1)  # (B, T)
        return Observed(states=filtered, priors=prior, train=filtered, last=last)

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return self._draw(self.transition(torch.cat([state.x, action], -1)), sampling)

    def losses(self, view: View) -> dict[str, Tensor]:
        post, prior = view.observed.states.mean, view.observed.priors.mean  # (B, T, D)
        return {
            "dyn": 0.5 * (post.detach() - prior).square().sum(-1),  # (B, T)
            "rep": 0.1 * (post - prior.detach()).square().sum(-1),  # (B, T)
        }

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        fresh = self.initial(is_first.shape[0])
        return fresh.where(is_first, last), torch.where(is_first[:, None], torch.zeros_like(action), action)

    def _draw(self, mean: Tensor, sampling: Sampling) -> ToyLatent:
        if sampling.mode == "mode":
            return ToyLatent(mean, mean)
        noise = sampling.randn(mean.shape, device=mean.device, dtype=mean.dtype)  # (B, D)
        return ToyLatent(mean + self.noise * noise, mean)


class ToyDecoder(Decoder):
    """One linear layer; a unit normal per entry."""

    def __init__(self, config: Any, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        self.shapes = {key: spec.model_shape for key, spec in observation.items()}
        self.layers = nn.ModuleDict(
            {key: nn.Linear(code_size, int(torch.Size(shape).numel())) for key, shape in self.shapes.items()}
        )

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        means = {key: layer(code).unflatten(-1, self.shapes[key]) for key, layer in self.layers.items()}
        return {key: ToyNormal(mean, 1.0, len(self.shapes[key])) for key, mean in means.items()}


class ToyEmbedDecoder(ToyDecoder):
    """A `ToyDecoder` of the encoder's embedding."""

    reads = "embed"


class ToyHead(Head):
    """A unit normal around a linear function of the features after the step."""

    def __init__(self, config: Any, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        self.linear = nn.Linear(feature_size, 1)

    def forward(self, transition: Transition) -> Distribution:
        latent = transition.after
        if latent is None:
            raise ValueError("ToyHead reads the state after the action, and the transition has none")
        return ToyNormal(latent.project(self.linear)[..., 0], 1.0, 0)  # (*B)


class ToyActor(Actor):
    """A linear policy: a normal around tanh(linear) for continuous actions, a one-hot for discrete ones."""

    def __init__(self, config: Any, feature_size: int, action: ActionSpec) -> None:
        super().__init__(config, feature_size, action)
        self.action = action
        self.linear = nn.Linear(feature_size, action.size)

    def policy(self, latent: Latent) -> Distribution:
        logits = latent.project(self.linear)  # (*B, A)
        return ToyOneHot(logits) if self.action.is_discrete else ToyNormal(torch.tanh(logits), 0.1, 1, bound=1.0)


class ToyObjective(Objective):
    """Squared error of the decoder's mean, summed over each entry. One term per entry."""

    def losses(self, view: View, agent: Any) -> dict[str, Tensor]:
        predicted = agent.decoder(view.observed.train.code)
        return {
            f"decode_{key}": (value.mean - view.obs[key]).square().flatten(2).sum(-1)  # (B, T)
            for key, value in predicted.items()
        }


class ToyAgent(nn.Module):
    """Satisfies `AgentParts`. What is not given is a toy; heads are `reward`, `continue` and `value` unless given."""

    def __init__(
        self,
        observation: ObservationSpec | None = None,
        action: ActionSpec | None = None,
        *,
        encoder: Encoder | None = None,
        dynamics: Dynamics[Any] | None = None,
        decoder: Decoder | None = None,
        heads: Mapping[str, Head] | None = None,
        actor: Actor | None = None,
        planner: Planner | None = None,
        objectives: Mapping[str, Objective] | None = None,
        imagination: Imagination | None = None,
    ) -> None:
        super().__init__()
        self.observation = observation or toy_observation()
        self.action = action or toy_action()
        self.encoder: Any = encoder or ToyEncoder(None, self.observation)
        self.dynamics: Any = dynamics or LinearDynamics(None, self.encoder.embed_size, self.action)
        self.decoder: Any = decoder or ToyDecoder(None, self.dynamics.code_size, self.observation)
        self.decoders: Any = nn.ModuleDict()
        size = self.dynamics.feature_size
        names = ("reward", "continue", "value")
        self.heads: Any = nn.ModuleDict(heads or {name: ToyHead(None, size, self.action) for name in names})
        self.actor: Any = actor or ToyActor(None, size, self.action)
        self.planner: Any = planner or self.actor
        self.objectives: Any = nn.ModuleDict(objectives or {})
        self._imagination = imagination

    @property
    def imagination(self) -> Imagination:
        """The one that was given, or the framework's own over this agent."""
        if self._imagination is None:
            from reverie.assembly.imagination import Imagination as Assembled

            return Assembled(self)
        return self._imagination

    def preprocess(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images to [0, 1] and (C, H, W), vectors as they are, in the dtype of the parameters."""
        dtype = next(self.encoder.parameters()).dtype
        return {
            key: obs[key].movedim(-1, -3).to(dtype) / 255 if spec.is_image else obs[key].to(dtype)
            for key, spec in self.observation.items()
        }

    def postprocess(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back from `preprocess`, float32."""
        return {
            key: (value.movedim(-3, -1) * 255 if self.observation[key].is_image else value).float()
            for key, value in entries.items()
        }

    def module(self, slot: str) -> nn.Module:
        filled = self._filled()
        if slot not in filled:
            raise KeyError(f"no slot '{slot}'; this agent has {', '.join(filled)}")
        return filled[slot]

    def slots(self) -> Sequence[str]:
        return [slot for slot, module in self._filled().items() if any(True for _ in module.parameters())]

    def _filled(self) -> dict[str, nn.Module]:
        single = {"encoder": self.encoder, "dynamics": self.dynamics, "decoder": self.decoder, "actor": self.actor}
        groups = {"decoders": self.decoders, "heads": self.heads, "objectives": self.objectives}
        named = {f"{group}/{name}": module for group, members in groups.items() for name, module in members.items()}
        return {**single, **named}
