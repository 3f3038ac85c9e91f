"""Options of the learners of values."""

from pydantic import Field

from reverie import LearnerConfig, Needs


class ReplayedValueConfig(LearnerConfig):
    """Options of the learner `replayed_value`."""

    trains: tuple[str, ...] = ("heads/value",)
    """The slot that it steps."""
    discount: float = Field(default=0.99, gt=0, le=1)
    """Discount per decision. Give the planner the same one."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """Share of what really followed in a return, against the value of the next state (TD(lambda))."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""
    slow_rate: float = Field(default=0.02, gt=0, le=1)
    """How far the slow copy, which values the states that returns end in, moves towards the head after each update."""

    def needs(self) -> Needs:
        """The head that it trains."""
        return Needs(slots=("heads/value",))


class FittedValueConfig(LearnerConfig):
    """Options of the learner `fitted_value`."""

    trains: tuple[str, ...] = ("heads/value",)
    """The slot that it steps."""
    discount: float = Field(default=0.99, gt=0, le=1)
    """Discount per decision. Give the planner the same one."""
    horizon: int = Field(default=1, gt=0)
    """Steps of a plan before the value of where it ends."""
    candidates: int = Field(default=8, gt=0)
    """Plans that are tried from each state: uniformly random ones, or all there are where these are no more."""
    starts: int = Field(default=64, gt=0)
    """States of each batch that are valued, drawn anew each time."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""

    def needs(self) -> Needs:
        """The heads that it trains and reads."""
        return Needs(slots=("heads/value", "heads/reward"))
