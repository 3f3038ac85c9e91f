"""The parts of a world model: encoder, dynamics, decoder, head, objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor, nn

from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Distribution, Sampling
from reverie.contracts.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    from reverie.contracts.agent import AgentParts
    from reverie.contracts.view import View

L = TypeVar("L", bound=Latent)
Reads = Literal["after", "before_action", "transition"]


@dataclass(frozen=True)
class Observed(Generic[L]):
    """What filtering a batch of chunks gives.

    Args:
        states: (B, T), the posterior states, each having seen its own observation.
        priors: (B, T), the states predicted for t from t-1 and the action, before the observation.
        train: (B, T), what heads and objectives read: `states`, or an open-loop rollout for implicit models.
        last: (B,), the state to carry into the next chunk or step.
    """

    states: L
    priors: L
    train: L
    last: L


@dataclass(frozen=True)
class Transition:
    """What a head reads.

    Args:
        before: (*B,) latents before the action, or None.
        action: (*B, A) the action between, or None.
        after: (*B,) latents after the action, or None.
        valid: (*B) bool, false where there is no transition (the first step of an episode); None means all valid.
    """

    before: Latent | None
    action: Tensor | None
    after: Latent | None
    valid: Tensor | None = None


class Encoder(nn.Module, ABC):
    """Preprocessed observations -> embedding.

    `__init__(config, observation)`; sets `embed_size`.
    """

    embed_size: int

    def __init__(self, config: Any, observation: ObservationSpec) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        """Entries (*B, *model_shape) -> (*B, E). With a posterior, a draw of it."""

    def posterior(self, obs: dict[str, Tensor]) -> Distribution:
        """The distribution over the embedding, batch shape (*B); only where `provides` names "posterior"."""
        raise TypeError(f"{type(self).__name__} has no posterior (it does not provide the capability 'posterior')")


class Dynamics(nn.Module, ABC, Generic[L]):
    """The latent state and how it changes.

    `__init__(config, embed_size, action)`; sets `feature_size` and `code_size`, and `members` where it is an ensemble.
    """

    feature_size: int
    code_size: int
    members: int | None = None

    def __init__(self, config: Any, embed_size: int, action: ActionSpec) -> None:
        super().__init__()

    @abstractmethod
    def initial(self, batch_size: int) -> L:
        """(B,) states that know nothing, on the device of the parameters."""

    @abstractmethod
    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: L | None = None, *, sampling: Sampling
    ) -> Observed[L]:
        """Filter a chunk. Acting is the same call with T = 1.

        Args:
            embed: (B, T, E).
            action: (B, T, A), the action that led to each observation.
            is_first: (B, T) bool; where true the carried state and the action are forgotten.
            state: (B,) state before the chunk; None starts fresh.
        """

    def filter(self, embed: Tensor, action: Tensor, is_first: Tensor, state: L, *, sampling: Sampling) -> L:
        """One step of `observe`, as an agent takes it when it acts: (B, E), (B, A), (B,) and (B,) states -> (B,).

        Override it where the last state can be had for less than all of `Observed`; with the same noise it must be the
        state that `observe` gives.
        """
        observed = self.observe(embed[:, None], action[:, None], is_first[:, None], state, sampling=sampling)
        return observed.last

    @abstractmethod
    def imagine(self, state: L, action: Tensor, sampling: Sampling) -> L:
        """One prior step: (B,) states and (B, A) actions -> (B,) next states."""

    def fan(self, state: L, n: int, action: Tensor, sampling: Sampling) -> L:
        """One prior step of every state with n actions each: (B,) states and (B * n, A) actions, of which those of one
        state are neighbours -> (B * n,) next states. The same as `imagine(state.repeat(n), action, sampling)`; a
        dynamics may compute what does not depend on the action once per state."""
        return self.imagine(state.repeat(n), action, sampling)

    def branch(self, state: L, n: int) -> L:
        """(B,) -> (B * n,): copies j = 0..n-1 of every state side by side. An ensemble gives copy j member j mod M."""
        return state.repeat(n)

    @abstractmethod
    def losses(self, view: View) -> dict[str, Tensor]:
        """The dynamics' own loss terms, each (B, T), scales included. Empty where it has none."""


class Decoder(nn.Module, ABC):
    """Code -> a distribution for each observation entry.

    `__init__(config, code_size, observation)`.
    """

    reads: ClassVar[Literal["code", "embed"]] = "code"

    def __init__(self, config: Any, code_size: int, observation: ObservationSpec) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, code: Tensor) -> dict[str, Distribution]:
        """(*B, C) -> per entry a distribution over the preprocessed entry: batch (*B), event `model_shape`."""


class Head(nn.Module, ABC):
    """Latent(s) -> a distribution over a number: reward, continue, value, Q or cost.

    `__init__(config, feature_size, action)`. `reads` says which parts of a `Transition` it uses. A head with
    `members` set returns batch shape (*B, M); `reverie.nn.nll` adds that axis to targets.
    """

    reads: Reads = "after"
    members: int | None = None

    def __init__(self, config: Any, feature_size: int, action: ActionSpec) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, transition: Transition) -> Distribution:
        """A distribution with batch shape (*B) or (*B, M) and scalar events."""


class Objective(nn.Module, ABC):
    """A term of the loss of whichever learner names it. May hold parameters (trained when the learner trains its slot).

    `__init__(config, agent)`: built after encoder, dynamics, decoders and heads, whose sizes it may read.
    """

    def __init__(self, config: Any, agent: AgentParts) -> None:
        super().__init__()

    @abstractmethod
    def losses(self, view: View, agent: AgentParts) -> dict[str, Tensor]:
        """Named loss terms, each (B, T), scales included."""
