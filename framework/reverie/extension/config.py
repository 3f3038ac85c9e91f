"""The base class of every component's options. Defaults live here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reverie.extension.spec import Needs


class Config(BaseModel):
    """Options of one component: typed, documented, closed to unknown keys, immutable.

    A subclass documents each field with a docstring below it (or `Field(description=...)`); `reverie check` uses those
    texts. `presets` maps the value of `size` to field values that lie between the defaults and what the recipe says.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def needs(self) -> Needs:
        """Needs that follow from the chosen options; joined with those of the `ComponentSpec`."""
        return Needs()


class ByObservation(Config):
    """A number for each kind of observation: `{vectors: 3e-3, images: 1e-3}`. Pictures cost several times as much, and
    their networks learn at rates of their own."""

    vectors: float = Field(gt=0)
    """Where every entry is a vector."""
    images: float = Field(gt=0)
    """Where at least one entry is an image."""

    @staticmethod
    def choose(value: Any, images: bool) -> Any:
        """The number for observations with or without images, of a number (or None) or of a `ByObservation`."""
        if isinstance(value, ByObservation):
            return value.images if images else value.vectors
        return value


class CountByObservation(ByObservation):
    """The same for whole numbers."""

    vectors: int = Field(gt=0, le=2**20)
    """Where every entry is a vector."""
    images: int = Field(gt=0, le=2**20)
    """Where at least one entry is an image."""


class DataConfig(Config):
    """What the options of every data source share."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Part of the episodes that nothing learns from, kept in the run for the metrics of the world model: evenly spread,
    at least one where there are two."""


class ActorConfig(Config):
    """What every actor's options share (nothing yet: the type marks the kind)."""


class PlannerConfig(Config):
    """What the options of planners that search share: how long a plan is, and how `Imagination.score` judges it."""

    horizon: int = Field(default=12, gt=0)
    """Steps of a plan, H."""
    score_by: Literal["reward", "cost", "reward_minus_cost"] = "reward"
    """What a plan is judged by: the reward that `heads/reward` expects, minus the cost that a head of your own in
    `heads/cost` expects, or both."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """Discount per imagined step."""
    continues: bool = True
    """Weigh every step by the predicted chance that the episode has come so far (where there is a continue head)."""
    bootstrap: bool | None = None
    """Add the value of the last imagined state. Null does so where the recipe has a value head; true needs one."""
    particles: int | None = Field(default=None, gt=0)
    """Imagined copies of every plan, averaged; null means one, or one per member of an ensemble."""
    risk: float = 0.0
    """Standard deviations over the particles that are subtracted from a plan's score; negative seeks risk."""

    @model_validator(mode="after")
    def _values_are_of_rewards(self) -> Self:
        if self.bootstrap and self.score_by == "cost":
            raise ValueError(
                "the value head predicts rewards: with `score_by: cost` there is nothing to bootstrap from\n"
                "fix: leave `bootstrap` out, or set `score_by` to reward_minus_cost"
            )
        return self

    def needs(self) -> Needs:
        """The heads that the score reads."""
        heads = {"reward": ("reward",), "cost": ("cost",), "reward_minus_cost": ("reward", "cost")}[self.score_by]
        return Needs(slots=tuple(f"heads/{name}" for name in (*heads, *(("value",) if self.bootstrap else ()))))

    def scoring(self, has_value: bool) -> dict[str, Any]:
        """These options as arguments of `Imagination.score`.

        Args:
            has_value: whether that imagination has a value to bootstrap from.
        """
        where_possible = has_value and self.score_by != "cost"
        return {
            "by": self.score_by,
            "discount": self.discount,
            "continues": self.continues,
            "bootstrap": where_possible if self.bootstrap is None else self.bootstrap,
            "particles": self.particles,
            "risk": self.risk,
        }


class LearnerConfig(Config):
    """What every learner's options share: what it trains, what its gradient may reach, which objectives it runs.

    Names may be patterns such as `heads/*` or `*`. `resolved` writes them out for one recipe; the assembly builds
    learners with the resolved options.
    """

    trains: tuple[str, ...] = ()
    """Slot paths whose parameters this learner steps. Two learners of one stage may not train the same slot."""
    reaches: tuple[str, ...] = ()
    """Further slots that its gradient may enter without training them (they are frozen while its loss is built)."""
    objectives: tuple[str, ...] = ()
    """Names of the objectives (`objectives/<name>`) that this learner runs."""
    grad_clip: float | None = Field(default=100.0, gt=0)
    """Largest norm of this learner's gradient, over all slots that it trains; null does not clip it."""
    adaptive_clip: float | None = Field(default=None, gt=0)
    """Clip each tensor's gradient by itself, at this multiple of the tensor's own norm, before `grad_clip`; null does
    not."""

    def resolved(self, slots: Iterable[str]) -> Self:
        """These options for a recipe with these filled slot paths.

        Patterns become the slots that match, in the recipe's order. A default names every slot that the learner
        could use, so what the recipe leaves empty drops out of it; what the recipe itself wrote stays, and the wiring
        check refuses it where the slot is empty.
        """
        slots = list(slots)
        names = [slot.partition("/")[2] for slot in slots if slot.startswith("objectives/")]
        known = {"trains": slots, "reaches": slots, "objectives": names}
        return self.model_copy(
            update={
                key: self._expand(getattr(self, key), found, key in self.model_fields_set)
                for key, found in known.items()
            }
        )

    @staticmethod
    def _expand(patterns: Iterable[str], names: Sequence[str], written: bool) -> tuple[str, ...]:
        expanded: list[str] = []
        for pattern in patterns:
            matches = [name for name in names if fnmatchcase(name, pattern)]
            expanded.extend(matches or ([pattern] if written and "*" not in pattern else []))
        return tuple(dict.fromkeys(expanded))
