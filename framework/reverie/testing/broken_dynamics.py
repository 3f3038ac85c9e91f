"""Dynamics that are each broken in one way, as people really break them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.contracts import ActionSpec, Observed, Sampling, View
from reverie.testing.broken import breaks
from reverie.testing.toy_dynamics import LinearEnsemble, MemberLatent, OpenLoopDynamics
from reverie.testing.toy_imagination import ToyLatent
from reverie.testing.toys import LinearDynamics

CLAIMS = ("recurrent", "differentiable")
PURE = ("batch_independence", "fan_is_imagine", "seeded")
Seen = Observed[ToyLatent]


@breaks("dynamics", "shapes", provides=CLAIMS)
class WrongCodeSize(LinearDynamics):
    """Says that its code is larger than it is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.code_size = self.size + 1


@breaks("dynamics", "shapes", provides=CLAIMS, also=["chunks_equal_whole"])
class LastIsPrior(LinearDynamics):
    """Carries the prior into the next chunk instead of the filtered state."""

    def observe(self, *args: Any, sampling: Sampling) -> Seen:
        observed = super().observe(*args, sampling=sampling)
        return replace(observed, last=observed.priors[:, -1])


@breaks("dynamics", "chunks_equal_whole", provides=CLAIMS)
class ForgetsCarried(LinearDynamics):
    """Starts every chunk fresh, whatever state it is given."""

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, state: Any = None, **options: Any) -> Seen:
        return super().observe(embed, action, is_first, None, **options)


@breaks("dynamics", "border_forgets_state", provides=CLAIMS, also=["border_cuts_gradients", "border_is_initial"])
class KeepsStateAtBorder(LinearDynamics):
    """Clears the action where an episode begins, and keeps the state."""

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        return last, super()._forget(last, action, is_first)[1]


@breaks("dynamics", "border_forgets_action", provides=CLAIMS, also=["border_cuts_gradients", "border_is_initial"])
class KeepsActionAtBorder(LinearDynamics):
    """Clears the state where an episode begins, and keeps the action."""

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        return super()._forget(last, action, is_first)[0], action


@breaks("dynamics", "border_is_initial", provides=CLAIMS)
class TwoBeginnings(LinearDynamics):
    """`initial` is not what a border resets to."""

    def initial(self, batch_size: int) -> ToyLatent:
        return super().initial(batch_size).map(lambda value: value + 0.5)

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        last, action = super()._forget(last, action, is_first)
        return last.map(lambda value: value.masked_fill(is_first[:, None], 0.0)), action


@breaks("dynamics", "causality", provides=CLAIMS)
class TrainsOnTheFuture(LinearDynamics):
    """What heads and objectives read has seen the next observation."""

    def observe(self, embed: Tensor, *args: Any, **options: Any) -> Seen:
        observed = super().observe(embed, *args, **options)
        later = torch.cat([embed[:, 1:], embed[:, -1:]], 1)[..., : self.size]  # (B, T, D)
        return replace(observed, train=observed.states.map(lambda value: value + 0.1 * later))


@breaks(
    "dynamics",
    "causality",
    provides=CLAIMS,
    also=["border_forgets_action", "border_is_initial", "chunks_equal_whole", "imagine_is_prior"],
)
class NextAction(LinearDynamics):
    """Departure-aligned: takes action[t] for the action that leaves step t."""

    def observe(self, embed: Tensor, action: Tensor, *args: Any, **options: Any) -> Seen:
        shifted = torch.cat([action[:, 1:], action[:, -1:]], 1)  # (B, T, A)
        return super().observe(embed, shifted, *args, **options)


@breaks("dynamics", "prior_is_blind", provides=CLAIMS, also=["imagine_is_prior"])
class PeekingPrior(LinearDynamics):
    """The prior has seen the observation that it should predict."""

    def observe(self, embed: Tensor, *args: Any, **options: Any) -> Seen:
        observed = super().observe(embed, *args, **options)
        peeked = 0.5 * (observed.priors.mean + observed.states.mean)
        return replace(observed, priors=ToyLatent(peeked, peeked))


@breaks("dynamics", "inputs_matter", provides=CLAIMS, also=["gradients_flow"])
class ActionBlind(LinearDynamics):
    """Multiplies the action by zero."""

    def observe(self, embed: Tensor, action: Tensor, *args: Any, **options: Any) -> Seen:
        return super().observe(embed, action * 0.0, *args, **options)

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return super().imagine(state, action * 0.0, sampling)


@breaks("dynamics", "inputs_matter", provides=CLAIMS, also=["remembers", "fits_one_batch"])
class ObservationBlind(LinearDynamics):
    """Multiplies the embedding by zero."""

    def observe(self, embed: Tensor, *args: Any, **options: Any) -> Seen:
        return super().observe(embed * 0.0, *args, **options)


@breaks("dynamics", "remembers", provides=["recurrent"])
class Memoryless(LinearDynamics):
    """Claims to be recurrent, and predicts from the action alone."""

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        return last.map(torch.zeros_like), super()._forget(last, action, is_first)[1]

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return super().imagine(state.map(torch.zeros_like), action, sampling)


@breaks("dynamics", "batch_independence", provides=CLAIMS, also=["inputs_matter", "remembers"])
class BatchCentred(LinearDynamics):
    """Subtracts the batch's mean from the embedding."""

    def observe(self, embed: Tensor, *args: Any, **options: Any) -> Seen:
        return super().observe(embed - embed.mean(0, keepdim=True), *args, **options)


@breaks("dynamics", "imagine_is_prior", provides=CLAIMS)
class DreamsOtherwise(LinearDynamics):
    """Scales the action when imagining, and not when filtering."""

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return super().imagine(state, 0.5 * action, sampling)


@breaks("dynamics", "branch_interleaves", provides=CLAIMS)
class Tiles(LinearDynamics):
    """Repeats the whole batch n times instead of every state n times."""

    def branch(self, state: ToyLatent, n: int) -> ToyLatent:
        return state.map(lambda value: value.repeat(n, *[1] * (value.dim() - 1)))


@breaks("dynamics", "fan_is_imagine", provides=CLAIMS)
class FansTiled(LinearDynamics):
    """Steps the whole batch with each action in turn, as if the states varied fastest."""

    def fan(self, state: ToyLatent, n: int, action: Tensor, sampling: Sampling) -> ToyLatent:
        return self.imagine(state.map(lambda value: value.repeat(n, 1)), action, sampling)


@breaks("dynamics", "branch_interleaves", provides=["members", "differentiable"])
class MembersByGlobalRow(LinearEnsemble):
    """Gives copy j of row b the member (b * n + j) mod M: right only if n is a multiple of M."""

    def branch(self, state: MemberLatent, n: int) -> MemberLatent:
        copies = torch.arange(n * state.batch_shape[0], device=state.device)
        return replace(super().branch(state, n), member=copies % len(self.layers))


@breaks("dynamics", "members_disagree", provides=["members", "differentiable"])
class OneMemberThrice(LinearEnsemble):
    """Every member is the first one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.layers = nn.ModuleList([self.layers[0]] * 3)


@breaks("dynamics", "open_loop_is_blind", provides=["open_loop"])
class ClosedLoop(OpenLoopDynamics):
    """Claims an open loop, and trains on the filtered states."""

    def observe(self, *args: Any, **options: Any) -> Seen:
        observed = super().observe(*args, **options)
        return replace(observed, train=observed.states)

    def losses(self, view: View) -> dict[str, Tensor]:
        observed = view.observed
        return {"consistency": (observed.priors.mean - observed.states.mean.detach()).square().sum(-1)}


@dataclass(frozen=True)
class BiasFree(ToyLatent):
    """Forgets the bias of the layer that reads it."""

    def project(self, linear: nn.Linear) -> Tensor:
        return F.linear(self.features, linear.weight)


@breaks("dynamics", "project_is_linear", provides=CLAIMS)
class ProjectsOtherwise(LinearDynamics):
    """Its latent answers `project` without the bias."""

    def initial(self, batch_size: int) -> ToyLatent:
        return BiasFree(**super().initial(batch_size).tensors())

    def observe(self, *args: Any, **options: Any) -> Seen:
        found = super().observe(*args, **options)
        return Observed(**{name: BiasFree(**value.tensors()) for name, value in vars(found).items()})


@breaks("dynamics", "state_round_trip", provides=CLAIMS, also=["batch_independence"])
class SecretInState(LinearDynamics):
    """Hangs something on the state that is not one of its fields, and uses it when imagining."""

    def observe(self, *args: Any, **options: Any) -> Seen:
        observed = super().observe(*args, **options)
        object.__setattr__(observed.last, "secret", observed.last.x * 0.1)
        return observed

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        secret = getattr(state, "secret", None)
        return super().imagine(state if secret is None else ToyLatent(state.x + secret, state.mean), action, sampling)


@breaks("dynamics", "no_hidden_state", provides=CLAIMS, also=[*PURE, "state_round_trip"])
class RemembersItself(LinearDynamics):
    """Adds how often it was called."""

    calls = 0

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        self.calls += 1
        return super().imagine(state.map(lambda value: value + 0.01 * (self.calls - 1)), action, sampling)


@breaks("dynamics", "seeded", provides=CLAIMS, also=["batch_independence"])
class GlobalNoise(LinearDynamics):
    """Draws from torch's global generator."""

    def _draw(self, mean: Tensor, sampling: Sampling) -> ToyLatent:
        if sampling.mode == "mode":
            return ToyLatent(mean, mean)
        return ToyLatent(mean + self.noise * torch.randn_like(mean), mean)


@breaks("dynamics", "losses_per_step", provides=CLAIMS)
class ScalarLosses(LinearDynamics):
    """Takes the mean itself."""

    def losses(self, view: View) -> dict[str, Tensor]:
        return {name: value.mean() for name, value in super().losses(view).items()}


@breaks(
    "dynamics",
    "losses_per_step",
    provides=CLAIMS,
    also=["fits_one_batch", "losses_train_imagination", "no_dead_parameters", "precision"],
)
class NaNAtBorders(LinearDynamics):
    """Divides by the size of the action, which is 0 on reset rows."""

    def losses(self, view: View) -> dict[str, Tensor]:
        size = view.batch.action.abs().sum(-1)  # (B, T)
        return {name: value * size / size for name, value in super().losses(view).items()}


@breaks("dynamics", "gradients_flow", provides=CLAIMS)
class DreamsWithoutGradients(LinearDynamics):
    """Imagines under `no_grad` although it claims to be differentiable."""

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        with torch.no_grad():
            return super().imagine(state, action, sampling)


@breaks("dynamics", "border_cuts_gradients", provides=CLAIMS)
class LeaksGradients(LinearDynamics):
    """Cuts the value at a border, and lets the gradient through."""

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        fresh, act = super()._forget(last, action, is_first)
        values = {name: value + (getattr(fresh, name) - value).detach() for name, value in last.tensors().items()}
        return ToyLatent(**values), act


@breaks("dynamics", "future_gradients", provides=CLAIMS)
class DetachesBetweenSteps(LinearDynamics):
    """Trains by truncated backpropagation through one step."""

    def _forget(self, last: ToyLatent, action: Tensor, is_first: Tensor) -> tuple[ToyLatent, Tensor]:
        return super()._forget(last.detach(), action, is_first)


@breaks("dynamics", "losses_train_imagination", provides=CLAIMS)
class TrainsSomethingElse(LinearDynamics):
    """Its loss reaches the correction and not the transition that imagination uses."""

    def losses(self, view: View) -> dict[str, Tensor]:
        return {"decay": self.correction.weight.square().mean().expand(view.shape)}


@breaks("dynamics", "no_dead_parameters", provides=CLAIMS)
class DeadLayer(LinearDynamics):
    """Has a layer that nothing uses."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.unused = nn.Linear(2, 2)


@breaks("dynamics", "acting_leaves_no_trace", provides=CLAIMS)
class CachesWeights(LinearDynamics):
    """Packs its weights when it acts without gradients, and goes on with them when it is trained."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.packed: list[Tensor] = []

    def imagine(self, state: ToyLatent, action: Tensor, sampling: Sampling) -> ToyLatent:
        return self._draw(F.linear(torch.cat([state.x, action], -1), self._weight(), self.transition.bias), sampling)

    def observe(self, *args: Any, **options: Any) -> Seen:
        observed = super().observe(*args, **options)
        weight = self._weight()
        shift = weight.sum() - self.transition.weight.detach().sum()  # 0 as long as nothing is stale
        return replace(observed, states=observed.states.map(lambda value: value + shift))

    def _weight(self) -> Tensor:
        if not torch.is_grad_enabled() and not self.packed:
            self.packed.append(self.transition.weight.clone())
        return self.packed[0] if self.packed else self.transition.weight


@breaks("dynamics", "fits_one_batch", provides=CLAIMS)
class DrownsInNoise(LinearDynamics):
    """Its states are noise in which nothing can be read."""

    noise = 100.0


@breaks("dynamics", "copies_deeply", provides=CLAIMS)
class CopiesItself(LinearDynamics):
    """A deep copy is the original."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItself:
        return self


@breaks("dynamics", "saves_and_loads", provides=CLAIMS)
class UnsavedProjection(LinearDynamics):
    """A random projection that `state_dict` does not hold."""

    mixing: Tensor

    def __init__(self, config: Any, embed_size: int, action: ActionSpec) -> None:
        super().__init__(config, embed_size, action)
        self.register_buffer("mixing", torch.randn(embed_size, embed_size), persistent=False)

    def observe(self, embed: Tensor, *args: Any, **options: Any) -> Seen:
        return super().observe(embed @ self.mixing, *args, **options)


@breaks("dynamics", "precision", provides=CLAIMS)
class SingleLosses(LinearDynamics):
    """Its losses are float32 whatever the module is."""

    def losses(self, view: View) -> dict[str, Tensor]:
        return {name: value.float() for name, value in super().losses(view).items()}


@breaks("dynamics", "devices", provides=CLAIMS)
class StaysBehind(LinearDynamics):
    """`initial` is always on the CPU."""

    def initial(self, batch_size: int) -> ToyLatent:
        zeros = torch.zeros(batch_size, self.size, dtype=self.transition.weight.dtype)
        return ToyLatent(zeros, zeros)


@breaks("dynamics", "devices", provides=CLAIMS)
class PlainTensor(LinearDynamics):
    """A constant that is neither parameter nor buffer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.scale = torch.ones(1)
