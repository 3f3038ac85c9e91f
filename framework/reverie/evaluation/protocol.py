"""The evaluation protocol: the one way in which an agent is judged, during training and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.learner import EpisodeResult
from reverie.contracts.policy import Policy
from reverie.evaluation.episodes import Arrival, EvaluationStopped, Mode, play
from reverie.evaluation.policies import ConstantPolicy, RandomPolicy

__all__ = ["ConstantPolicy", "EvaluationResult", "EvaluationStopped", "RandomPolicy", "evaluate"]


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found. Two evaluations of the same agent are equal; timings do not count.

    Args:
        episodes: one result per episode, in the order of the seeds.
        mode: `"mode"` (the most likely latents and actions) or `"sample"`.
        seed: episode i used `seed + i`.
        explore: whether exploration noise was on.
        calls: how often the policy was asked, each time for all episodes side by side.
        seconds_deciding: seconds that these calls took together.
        imagined_steps: steps of single rows that the policy imagined to decide; 0 for one that does not search.
    """

    episodes: list[EpisodeResult]
    mode: Mode
    seed: int
    explore: bool = False
    calls: int = field(default=0, compare=False)
    seconds_deciding: float = field(default=0.0, compare=False)
    imagined_steps: int = field(default=0, compare=False)

    @property
    def returns(self) -> list[float]:
        return [episode.episode_return for episode in self.episodes]

    @property
    def lengths(self) -> list[int]:
        """Agent steps (decisions) of each episode."""
        return [episode.length for episode in self.episodes]

    @property
    def mean(self) -> float:
        return fmean(self.returns)

    @property
    def std(self) -> float:
        """Standard deviation over the episodes (their own, not an estimate of a population's)."""
        return pstdev(self.returns)

    @property
    def min(self) -> float:
        return min(self.returns)

    @property
    def max(self) -> float:
        return max(self.returns)

    @property
    def ms_per_call(self) -> float:
        """Milliseconds that the policy takes to answer for all episodes at once."""
        return 1e3 * self.seconds_deciding / max(self.calls, 1)

    @property
    def ms_per_decision(self) -> float:
        """Milliseconds per single action: `ms_per_call` divided among the rows of the batch."""
        return self.ms_per_call / len(self.episodes)

    @property
    def imagined_per_second(self) -> float:
        """Imagined steps per second of deciding: the speed of a search, whatever it was asked to search."""
        return self.imagined_steps / self.seconds_deciding if self.seconds_deciding else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data for `--json` and for `metrics/evaluations.jsonl`."""
        return {
            "mean": self.mean,
            "std": self.std,
            "min": self.min,
            "max": self.max,
            "returns": self.returns,
            "lengths": self.lengths,
            "seeds": [episode.seed for episode in self.episodes],
            "terminated": [episode.terminated for episode in self.episodes],
            "episodes": len(self.episodes),
            "mode": self.mode,
            "seed": self.seed,
            "explore": self.explore,
            "ms_per_decision": self.ms_per_decision,
            "ms_per_call": self.ms_per_call,
            "imagined_steps": self.imagined_steps,
            "imagined_per_second": self.imagined_per_second,
        }


def evaluate(
    policy: Policy,
    factory: EnvironmentFactory,
    *,
    episodes: int,
    seed: int,
    mode: Mode = "mode",
    explore: bool = False,
    should_stop: Callable[[], bool] | None = None,
    max_steps: int | None = None,
    watch: Callable[[Arrival], None] | None = None,
) -> EvaluationResult:
    """Play `episodes` whole episodes side by side and report their returns. Same arguments, same answer.

    Args:
        policy: an `Agent` or any other `Policy`.
        factory: makes the environments; every step is checked.
        episodes: at least 1.
        seed: episode i is reset with `seed + i`, and the policy's randomness comes from the same number.
        mode: whether latents and actions are the most likely ones or drawn.
        explore: whether the policy adds its exploration noise.
        should_stop: asked before each step.
        max_steps: agent steps after which an episode is cut, for environments without a time limit.
        watch: sees every row that arrives (a `Recorder` keeps them).

    Raises:
        EvaluationStopped: `should_stop` said so; nothing is reported, since short episodes end first.
        EnvironmentFault, NumericalFault: something on the way was not finite or not allowed.
    """
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one episode, not {episodes}")
    seeds = range(seed, seed + episodes)
    before = _imagined(policy)
    played = play(
        policy, factory, seeds, mode=mode, explore=explore, should_stop=should_stop, max_steps=max_steps, watch=watch
    )
    imagined = _imagined(policy) - before
    return EvaluationResult(played.episodes, mode, seed, explore, played.calls, played.seconds, imagined)


def _imagined(policy: Policy) -> int:
    """The steps that a policy with an imagination has imagined so far."""
    count: int = getattr(getattr(policy, "imagination", None), "imagined", 0)
    return count
