"""Options of the learner `replayed_value`."""

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
