"""What chooses actions: planners, actors, and the imagination that they search in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from reverie.contracts.latent import Latent
from reverie.contracts.sampling import Distribution, Sampling
from reverie.contracts.specs import ActionSpec

Carry = dict[str, Tensor]
"""A planner's memory: tensors (B, ...), row b for environment b. The agent puts rows of `initial` in where is_first."""

Act = Callable[[Latent, Sampling], Tensor]
"""(N,) states -> (N, A) actions, inside a rollout."""


ScoreBy = Literal["reward", "cost", "reward_minus_cost"]
"""What a plan is judged by: expected rewards, expected costs (of a user's own head `heads/cost`), or both."""


@dataclass(frozen=True)
class Trajectory:
    """An imagined rollout of N starts over H steps: H + 1 states, H actions.

    Args:
        states: (N, H + 1); `states[:, 0]` is the start.
        actions: (N, H, A); `actions[:, h]` leads from `states[:, h]` to `states[:, h + 1]`.
    """

    states: Latent
    actions: Tensor

    @property
    def horizon(self) -> int:
        return self.actions.shape[1]


class Imagination(Protocol):
    """The world model as planners and learners see it. Nothing here disables gradients."""

    def rollout(self, start: Latent, act: Act, horizon: int, sampling: Sampling) -> Trajectory:
        """Unroll from (N,) starts with actions from `act`."""
        ...

    def rewards(self, trajectory: Trajectory) -> Tensor:
        """(N, H): the expected reward on arrival at `states[:, 1:]`. Needs `heads/reward`."""
        ...

    def continues(self, trajectory: Trajectory) -> Tensor:
        """(N, H): the probability that the episode goes on after arrival; ones without `heads/continue`."""
        ...

    def returns(self, trajectory: Trajectory, discount: float = 1.0, bootstrap: bool = False) -> Tensor:
        """(N,): the discounted sum of continue-weighted rewards, plus the value of the last state on request."""
        ...

    def value(self, latent: Latent) -> Tensor:
        """(*B): the value head's mean (the mean over members). Needs `heads/value`."""
        ...

    @property
    def has_value(self) -> bool:
        """Whether `value` can be asked."""
        ...

    def score(
        self,
        start: Latent,
        actions: Tensor,
        *,
        sampling: Sampling,
        particles: int | None = None,
        discount: float = 1.0,
        bootstrap: bool = False,
        risk: float = 0.0,
        continues: bool = True,
        by: ScoreBy = "reward",
    ) -> Tensor:
        """Score candidate plans.

        Args:
            start: (B,) states.
            actions: (B, N, H, A) candidates.
            particles: copies of every start per candidate; None means one, or one per member of an ensemble.
            discount: per step.
            bootstrap: add the value of the last state.
            risk: subtract this many standard deviations over the particles.
            continues: weigh every step by the predicted chance of having come so far (with a continue head).
            by: rewards, costs (counted negative), or rewards minus costs.

        Returns:
            (B, N) scores; higher is better. Not-a-number becomes -inf.
        """
        ...

    def chose(self, plans: Tensor) -> None:
        """A planner that searches says which plans (B, H, A) it settled on. Nothing follows from it unless somebody
        watches (`reverie plan`)."""
        ...


class Planner(ABC):
    """Chooses actions for a batch of latent states, with explicit memory per environment.

    `__init__(config, action, proposal)`: `proposal` is the recipe's actor where there is one. A planner that follows
    gradients through the model sets `differentiates`; the agent then acts outside of inference mode.
    """

    differentiates: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def initial(self, batch_size: int) -> Carry:
        """The memory of B fresh episodes; empty for planners without memory."""
        return {}

    @abstractmethod
    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        """(B,) states -> ((B, A) actions within bounds, new memory). Noise of the environment kind (exploration) is
        added by the policy, not here, unless the planner itself defines it; with `sampling.mode == "mode"` and
        `explore=False` the answer is deterministic given the generators."""


class SearchPlanner(Planner):
    """Base of planners that search: the constructor that the assembly calls."""

    proposal: Actor | None

    def __init__(self, config: Any, action: ActionSpec, proposal: Actor | None) -> None:
        super().__init__()
        self.action = action
        # Past nn.Module's registration: the actor has a slot of its own and must not be saved twice.
        object.__setattr__(self, "proposal", proposal)


class Actor(Planner, nn.Module, ABC):
    """A policy over latent states. As a planner it acts by drawing from its policy.

    `__init__(config, feature_size, action)`.
    """

    def __init__(self, config: Any, feature_size: int, action: ActionSpec) -> None:
        super().__init__()

    @abstractmethod
    def policy(self, latent: Latent) -> Distribution:
        """(*B,) states -> a distribution over (*B, A) actions. Drawing from it is differentiable
        (straight-through for one-hot actions)."""

    def plan(
        self, latent: Latent, carry: Carry, imagination: Imagination, *, explore: bool, sampling: Sampling
    ) -> tuple[Tensor, Carry]:
        """A draw, or the mode where `sampling` says so (the agent says so by default unless it explores)."""
        return sampling.draw(self.policy(latent)), carry
