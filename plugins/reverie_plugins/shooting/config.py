"""Options of the shooting planners."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import Needs, PlannerConfig


class ShootingConfig(PlannerConfig):
    """What planners share that make candidates and score them all."""

    candidates: int = Field(default=128, gt=0)
    """Plans scored at once, N."""


class RandomShootingConfig(ShootingConfig):
    """Random shooting."""

    candidates: int = Field(default=512, gt=0)
    """Plans scored, N."""


class GuidedConfig(ShootingConfig):
    """Policy-guided shooting."""

    horizon: int = Field(default=20, gt=0)
    """Steps of a plan, H. Plans that all come from one actor part slowly, so that it takes more steps than a search to
    tell them apart."""
    candidates: int = Field(default=64, gt=0)
    """Plans scored, N: one of the actor's most likely actions, the others drawn from it."""


class RefiningConfig(ShootingConfig):
    """What planners share that score in rounds, each fitted to the best plans of the last."""

    iterations: int = Field(default=4, gt=0)
    """Rounds of scoring and refitting."""
    elites: int = Field(default=16, gt=0)
    """Best plans of a round, to which the next round's distribution is fitted."""

    @model_validator(mode="after")
    def _fewer_elites(self) -> Self:
        if self.elites > self.candidates:
            raise ValueError(
                f"elites ({self.elites}) cannot be more than candidates ({self.candidates})\n"
                f"fix: set `elites` to {self.candidates} or fewer, or `candidates` to {self.elites} or more"
            )
        return self


class CEMConfig(RefiningConfig):
    """The cross-entropy method. The defaults are PlaNet's method, made fast enough to act in real time."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"candidates": 1000, "iterations": 10, "elites": 100, "min_std": 0.0},
        "pets": {
            "horizon": 25, "candidates": 400, "iterations": 5, "elites": 40, "noise": "truncated", "std": 0.5,
            "min_std": 0.0, "momentum": 0.1, "warm_start": True,
        },
    }  # fmt: skip

    noise: Literal["normal", "truncated"] = "normal"
    """Candidates (continuous actions). `normal`: drawn from the whole normal and clipped to the bounds (PlaNet).
    `truncated`: cut at two deviations, which are narrowed so that both ends lie within the bounds (PETS)."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of the first round (continuous actions). PETS: 0.5, a quarter of the range."""
    min_std: float = Field(default=0.05, ge=0)
    """Smallest standard deviation that refitting may leave (continuous actions). Neither PlaNet nor PETS has one."""
    min_prob: float = Field(default=0.01, ge=0, lt=1)
    """Share of the uniform distribution in every round (discrete actions)."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the old mean and variance that survives a refit; PETS uses 0.1, PlaNet 0."""
    warm_start: bool = False
    """Begin with the last plan, shifted by one step (PETS), instead of afresh (PlaNet)."""
    proposals: int = Field(default=0, ge=0)
    """Candidates of every round that are drawn from the actor and not from the plans' distribution. They are drawn
    once and may be elites of every round."""

    @model_validator(mode="after")
    def _fewer_proposals(self) -> Self:
        refuse_more_proposals(self.proposals, self.candidates)
        return self

    def needs(self) -> Needs:
        """An actor, too, where proposals are asked for."""
        return super().needs() | needs_of_proposals(self.proposals)


class ICEMConfig(RefiningConfig):
    """The improved cross-entropy method, for few candidates."""

    iterations: int = Field(default=3, gt=0)
    """Rounds of scoring and refitting."""
    elites: int = Field(default=10, gt=0)
    """Best plans of a round, to which the next round's distribution is fitted."""
    colour: float = Field(default=2.0, ge=0)
    """Exponent of the noise's spectrum over the steps of a plan: 0 is white, 1 pink, 2 red; larger is smoother."""
    decay: float = Field(default=1.25, ge=1)
    """Each round has this many times fewer candidates than the last, but never fewer than twice the elites."""
    kept: float = Field(default=0.3, ge=0, le=1)
    """Share of the elites that take part in the next round, and (shifted) in the next step."""
    std: float = Field(default=0.5, gt=0)
    """Standard deviation of the first round."""
    min_std: float = Field(default=0.0, ge=0)
    """Smallest standard deviation that refitting may leave."""
    momentum: float = Field(default=0.1, ge=0, lt=1)
    """Share of the old mean and deviation that survives a refit."""


class MPPIConfig(RefiningConfig):
    """Model predictive path integral control. The defaults are TD-MPC2's."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"horizon": 3, "candidates": 512, "iterations": 6, "elites": 64, "proposals": 24},
        "real_time": {"horizon": 3, "candidates": 64, "iterations": 3, "elites": 12, "proposals": 16},
    }

    horizon: int = Field(default=3, gt=0)
    """Steps of a plan, H. Three see far enough only with a value behind them: plan longer where there is none."""
    candidates: int = Field(default=512, gt=0)
    """Plans scored at once, proposals included, N."""
    iterations: int = Field(default=6, gt=0)
    """Rounds of scoring and refitting."""
    elites: int = Field(default=64, gt=0)
    """Best plans of a round, which are weighted by their scores."""
    proposals: int | None = Field(default=None, ge=0)
    """Candidates of every round that are drawn from the actor. Null means 24 where the recipe has one (or half the
    candidates, if that is less)."""
    temperature: float = Field(default=0.5, gt=0)
    """An elite's weight is exp(temperature * (its score - the best score)): larger is greedier, as in TD-MPC2."""
    min_std: float = Field(default=0.05, ge=0)
    """Smallest standard deviation."""
    max_std: float = Field(default=2.0, gt=0)
    """Largest standard deviation, and that of the first round."""
    warm_start: bool = True
    """Begin with the last mean, shifted by one step."""
    execute: Literal["elite", "mean"] = "elite"
    """What is executed: the first action of an elite, drawn by its weight (TD-MPC2), or of the mean."""
    noise: bool = True
    """While collecting, add noise of the last round's deviation to the action (TD-MPC2); leave `exploration.noise` at 0
    then."""

    @model_validator(mode="after")
    def _bounds_ordered(self) -> Self:
        if self.min_std > self.max_std:
            raise ValueError(
                f"min_std ({self.min_std}) cannot be more than max_std ({self.max_std})\nfix: swap them, or widen one"
            )
        refuse_more_proposals(self.proposals, self.candidates)
        return self

    def needs(self) -> Needs:
        """An actor, too, where proposals are asked for."""
        return super().needs() | needs_of_proposals(self.proposals)


def refuse_more_proposals(proposals: int | None, candidates: int) -> None:
    """Raises ValueError where an actor is to propose more plans than there are candidates."""
    if proposals is not None and proposals > candidates:
        raise ValueError(
            f"proposals ({proposals}) cannot be more than candidates ({candidates})\n"
            f"fix: set `proposals` to {candidates} or fewer: they are some of the candidates"
        )


def needs_of_proposals(proposals: int | None) -> Needs:
    """An actor that proposes, where it is asked to."""
    return Needs(provides={"actor": ("proposal",)}) if proposals else Needs()
