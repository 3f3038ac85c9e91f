"""Options of the learner `dreamer`."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field

from reverie import LearnerConfig, Needs

Decay = Annotated[float, Field(ge=0, lt=1)]


class DreamerConfig(LearnerConfig):
    """Actor and critic in imagination. The defaults are what learns best on small tasks."""

    trains: tuple[str, ...] = ("actor", "heads/value")
    """Slots that this learner steps: the actor, and the critic."""
    reaches: tuple[str, ...] = ("dynamics", "heads/reward", "heads/continue")
    """Slots that the actor's gradient passes through, frozen, where it follows the dynamics."""
    gradient: Literal["auto", "dynamics", "reinforce"] = "reinforce"
    """How the actor learns: through the dynamics (V1), or by REINFORCE (current V3). `auto` (V3 of 2023) follows the
    dynamics for continuous actions and uses REINFORCE for discrete ones."""
    horizon: int = Field(default=15, gt=0)
    """Imagined steps, H."""
    starts: int | None = Field(default=128, gt=0)
    """Imagined trajectories per update, split evenly over the rows of the batch; null starts from every state."""
    discount: float = Field(default=0.997, gt=0, le=1)
    """Discount. Give 1 where the continue target already contains it."""
    discount_per: Literal["frame", "decision"] = "frame"
    """What `discount` counts. `frame`: an action that is repeated k times is discounted k times, so that the agent
    looks equally far ahead in time whatever the repeat. `decision`: once (the papers)."""
    continues: Literal["mean", "mode"] = "mean"
    """What imagination makes of the continue head: its probability, or whether that is above one half, without gradient
    (the code of 2023). `mode` knows nothing of a discount in the continue target."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """The lambda of lambda-returns: 1 trusts imagined rewards, 0 the critic."""
    entropy: float = Field(default=3e-4, ge=0)
    """Weight of the policy's entropy."""
    targets: Literal["online", "slow"] = "online"
    """Whose values the returns are made of: the critic's (V3), or its slow copy's (V2)."""
    slow_rate: float = Field(default=0.02, gt=0, le=1)
    """How far the slow copy of the critic moves towards it after each update."""
    slow_every: int = Field(default=1, gt=0)
    """Updates between two moves of the slow copy. V2 copies (`slow_rate: 1`) every 100 updates."""
    slow_regulariser: float = Field(default=1.0, ge=0)
    """Weight of the loss that keeps the critic near its slow copy; 0 switches it off."""
    scale_returns: bool = True
    """Divide advantages by max(1, range of returns) (V3); V1 and V2 do not."""
    return_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the moving average of the range of returns."""
    baseline: bool = True
    """With dynamics gradients: whether the value of a state is subtracted, with its own gradient, from its return (V3).
    V1 leaves it out. REINFORCE always subtracts it."""
    replay_value: float = Field(default=0.0, ge=0)
    """Weight of a second loss of the critic, on the replayed states: lambda-returns of real rewards, which lean on the
    imagined returns of those states (current V3: 0.3). 0 switches it off."""
    replay_value_into_model: bool = False
    """Whether the gradient of that loss enters dynamics and encoder, through the states (current V3 does)."""
    replay_discount: float | None = Field(default=None, gt=0, le=1)
    """Discount of that loss, whose continue flags are real ones; null takes `discount`. Needed where the
    discount is in the continue target."""
    optimizer: Literal["adam", "laprop", "muon"] = "adam"
    """Of actor and critic. `laprop` (current V3) divides each gradient by the scale of its own time before averaging;
    pair it with an `eps` of nearly nothing. `muon` steps matrices by their orthogonalised momentum, and the rest by
    Adam."""
    actor_lr: float = Field(default=1e-3, gt=0)
    """Learning rate of the actor."""
    critic_lr: float = Field(default=1e-3, gt=0)
    """Learning rate of the critic."""
    actor_betas: tuple[Decay, Decay] = (0.9, 0.999)
    """How slowly the actor's optimizer forgets gradients and their squares. As returns come to differ more, advantages
    are divided by more: gradients shrink, and a memory of a thousand updates (0.999, always the critic's) holds the
    steps back. Of `muon`, only what it leaves to Adam reads it."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which both learning rates rise from 0 (current V3: 1,000)."""
    eps: float = Field(default=1e-5, gt=0)
    """The optimizers' epsilon."""

    def resolved(self, slots: Iterable[str]) -> Self:
        """As for every learner; the loss on replayed states may add what its gradient enters."""
        found = super().resolved(slots)
        if not (self.replay_value and self.replay_value_into_model):
            return found
        return found.model_copy(update={"reaches": tuple(dict.fromkeys(("encoder", "dynamics", *found.reaches)))})

    def per_decision(self, discount: float, repeat: int) -> float:
        """`discount` for one decision that lasts `repeat` frames."""
        return float(discount**repeat) if self.discount_per == "frame" else discount

    def needs(self) -> Needs:
        return Needs(provides={"dynamics": ("differentiable",)} if self.gradient == "dynamics" else {})
