"""Options of the planners that search by gradients or exhaustively."""

from typing import Self

from pydantic import Field, model_validator

from reverie import Needs, PlannerConfig


class GradientConfig(PlannerConfig):
    """Gradient ascent on plans."""

    candidates: int = Field(default=16, gt=0)
    """Plans that climb side by side from different beginnings; the best one wins."""
    iterations: int = Field(default=10, gt=0)
    """Steps of ascent."""
    lr: float = Field(default=0.2, gt=0)
    """Size of a step (Adam), in units of actions, which lie in [-1, 1]."""
    std: float = Field(default=0.5, ge=0)
    """Standard deviation of the beginnings around the last plan. The first candidate begins on it exactly."""
    warm_start: bool = True
    """Begin around the last plan, shifted by one step; otherwise around doing nothing."""

    @model_validator(mode="after")
    def _beginnings_differ(self) -> Self:
        if self.candidates > 1 and self.std == 0:
            raise ValueError("with std 0 all candidates are the same one\nfix: use one candidate, or a std above 0")
        return self

    def needs(self) -> Needs:
        """A dynamics and heads through which gradients pass."""
        needs = super().needs()
        return needs | Needs(provides=dict.fromkeys(("dynamics", *needs.slots), ("differentiable",)))


class ExhaustiveConfig(PlannerConfig):
    """Exhaustive search."""

    horizon: int = Field(default=5, gt=0)
    """Steps of a plan, H. There are A^H plans of A actions."""
    budget: int = Field(default=4096, gt=0)
    """Most plans that may be tried; a larger tree is refused before training."""

    def too_large(self, actions: int) -> tuple[str, str] | None:
        """What is wrong with so many discrete actions, and the fix; None where every plan may be tried."""
        plans = actions**self.horizon
        if plans <= self.budget:
            return None
        fits = next((steps for steps in range(self.horizon, 0, -1) if actions**steps <= self.budget), 0)
        what = f"{actions} actions over {self.horizon} steps are {plans:,} plans, and the budget is {self.budget:,}"
        if not fits:
            return (
                what,
                f"set planner.budget to {actions:,} or more, or use a planner that samples, such as planner=cem",
            )
        return what, f"set planner.horizon={fits}, or a larger planner.budget; planner=cem samples instead"
