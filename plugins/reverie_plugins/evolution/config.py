"""Options of the linear actor and of its evolution."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from reverie import ActorConfig, LearnerConfig, Needs


class LinearActorConfig(ActorConfig):
    """Options of actor `linear`."""

    std: float = Field(default=0.1, gt=0)
    """Continuous actions: standard deviation of its policy where actions are drawn. Evaluation and evolution take the
    most likely action, tanh(W features + b), and never draw."""


class EvolutionConfig(LearnerConfig):
    """Options of learner `evolution`: CMA-ES (Hansen 2016) by the `cma` package."""

    trains: tuple[str, ...] = ("actor",)
    """Slots whose parameters make up one candidate; only the actor's can be judged."""
    population: int = 16
    """Candidates in each generation (paper: 64)."""
    sigma: float = Field(default=0.1, gt=0)
    """First standard deviation of the search around the weights that the actor begins with."""
    judge: Literal["dream", "real", "both"] = "dream"
    """Where candidates are judged. `dream`: inside the world model, all of them in one batch. `real`: by whole episodes
    of the real environment, which count as environment steps. `both`: by dreams, while the same candidates play real
    episodes too, so that the gap can be seen; nothing is learned from those."""
    rollouts: int = Field(default=8, gt=0)
    """Dreams (or episodes) per candidate, whose mean is its score. All candidates of a generation get the same starts
    and the same noise (the same reset seeds). Paper: 16."""
    horizon: int = Field(default=200, gt=0)
    """Steps of a dream."""
    temperature: float = 1.0
    """Of everything that the dream draws. Above 1 it is harder to cheat in (paper, section 4.3: 1.15 was best)."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """Discount per dreamed step, besides the predicted chance that the episode goes on."""
    context: int = Field(default=8, gt=0)
    """A dream starts behind so many steps of real experience, anywhere in the replay."""
    side_by_side: int = Field(default=64, gt=0)
    """Real episodes that are played together, at most."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"population": 16, "rollouts": 8, "horizon": 200},
        "paper": {"population": 64, "rollouts": 16, "horizon": 1000},
    }

    @field_validator("population")
    @classmethod
    def _compares(cls, value: int) -> int:
        if value < 2:
            raise ValueError(
                f"a population of {value} has nothing to compare: CMA-ES ranks the candidates of a generation, so it "
                "needs at least 2 (4 + 3 ln(number of weights) is its own choice)"
            )
        return value

    @field_validator("temperature")
    @classmethod
    def _warm(cls, value: float) -> float:
        if value <= 0:
            raise ValueError(
                f"a temperature of {value:g} divides by zero or turns the odds round: give a positive one (1 is the "
                "model's own, 0.1 is nearly without surprises)"
            )
        return value

    def needs(self) -> Needs:
        """The head that dreams are judged by."""
        return Needs() if self.judge == "real" else Needs(slots=("heads/reward",))
