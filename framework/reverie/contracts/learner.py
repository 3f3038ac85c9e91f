"""What turns experience into parameter changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from reverie.contracts.behaviour import Imagination
from reverie.contracts.policy import Policy
from reverie.contracts.sampling import Sampling

if TYPE_CHECKING:
    import gymnasium as gym

    from reverie.contracts.agent import AgentParts
    from reverie.contracts.view import View


@dataclass
class Counters:
    """How far a run is. `env_steps` are frames: agent steps times action repeat."""

    env_steps: int = 0
    agent_steps: int = 0
    episodes: int = 0
    updates: int = 0
    generations: int = 0
    replayed_steps: int = 0
    ticks: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class EpisodeResult:
    """One finished episode."""

    episode_return: float
    length: int
    seed: int
    terminated: bool


class BudgetedEnvironments(Protocol):
    """Real environments whose steps count towards the budget of the run."""

    def rollout(self, policy: Policy, seeds: Sequence[int], *, explore: bool = False) -> list[EpisodeResult]:
        """One whole episode per seed, all side by side: row i of the policy's batch plays `seeds[i]`."""
        ...


class Context(Protocol):
    """What a learner may use besides its batch."""

    agent: AgentParts
    imagination: Imagination
    environments: BudgetedEnvironments
    counters: Counters
    stage: str
    sampling: Sampling

    def log(self, name: str, value: float | Tensor) -> None:
        """Record a number under `<learner>/<name>`; averaged until the next line of metrics is written."""
        ...

    def should_stop(self) -> bool:
        """True when a signal, a budget or the stage's end asks long work to end soon."""
        ...

    def frozen(self, slots: Sequence[str]) -> AbstractContextManager[None]:
        """Build a graph through these slots' parameters without training them."""
        ...

    def experience(self, rows: int, length: int) -> View:
        """Chunks of the replay (rows, length) as a view, drawn anew for each update: for learners without gradients,
        which get no batch, to start dreams from.

        Raises:
            ReverieError: if the replay holds too little.
        """
        ...

    def gather(self, value: Tensor) -> Tensor:
        """The rows of all ranks, (N, ...) -> (world * N, ...), without gradients: for percentiles and other
        statistics that are not plain means."""
        ...


class Learner(nn.Module, ABC):
    """Trains the slots that it names. Slow copies and scales are its buffers or submodules.

    `__init__(config, agent)`; `config` is a `reverie.LearnerConfig`. `own_backward = True` has `losses` called only
    after the other learners have stepped, on `view.detach()`, and its gradient reaches only its own `trains`.
    """

    own_backward: bool = False

    def __init__(self, config: Any, agent: AgentParts) -> None:
        super().__init__()
        self.config = config

    def trained(self, agent: AgentParts) -> list[nn.Parameter]:
        """The parameters of the slots that it trains, each once, in slot order."""
        found: dict[nn.Parameter, None] = {}
        for slot in self.config.trains:
            found.update(dict.fromkeys(agent.module(slot).parameters()))
        return list(found)

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """The optimizers that step what it trains; empty for learners without gradients."""
        return ()

    def losses(self, view: View, ctx: Context) -> dict[str, Tensor]:
        """Named losses, each (B, T) or a scalar; the framework takes the mean of each and sums them."""
        raise TypeError(f"{type(self).__name__} has no gradient losses")

    def update(self, ctx: Context) -> None:
        """One step of a learner without gradients (a generation). Called instead of `losses`."""
        raise TypeError(f"{type(self).__name__} learns by gradients; the framework calls `losses`")

    def after_step(self, ctx: Context) -> None:
        """Called once its optimizers have stepped, without gradients: slow copies move here."""


MakeEnvironments = Callable[[int], "gym.vector.VectorEnv[Any, Any, Any]"]


class Run(Protocol):
    """What an external learner may use."""

    seed: int
    budget: Mapping[str, float]
    counters: Counters

    def log(self, values: Mapping[str, float]) -> None: ...
    def should_stop(self) -> bool: ...
    def checkpoint(self, tensors: Mapping[str, Tensor]) -> None:
        """Save named tensors as the policy so far."""
        ...

    def evaluate(self, policy: Policy) -> float:
        """The mean return by the recipe's evaluation protocol; recorded as a point of the curve."""
        ...


class ExternalLearner(ABC):
    """A whole training procedure from elsewhere: `fit` is called instead of the stages.

    `__init__(config, observation, action)`.
    """

    @abstractmethod
    def fit(self, make_environments: MakeEnvironments, run: Run) -> Policy:
        """Train within the budget. `make_environments(n)` gives a Gymnasium vector environment in the standard form
        whose steps count towards the budget."""

    @abstractmethod
    def policy(self, tensors: Mapping[str, Tensor]) -> Policy:
        """The policy that `Run.checkpoint` saved, for evaluation and `reverie.load`."""


def unique(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Each parameter once, in order."""
    return list(dict.fromkeys(parameters))
