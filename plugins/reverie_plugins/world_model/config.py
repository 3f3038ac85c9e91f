"""Options of the learner `world_model`."""

from typing import Annotated, Literal

from pydantic import Field

from reverie import ByObservation, LearnerConfig


class WorldModelConfig(LearnerConfig):
    """What a world model is trained on. The defaults of `trains` and `objectives` mean every model slot that the
    recipe fills; a recipe that writes them names exactly what it wants."""

    trains: tuple[str, ...] = (
        "encoder",
        "dynamics",
        "decoder",
        "decoders/*",
        "heads/reward",
        "heads/continue",
        "objectives/*",
    )
    """Slots that this learner steps; those that the recipe leaves empty drop out of the default."""
    objectives: tuple[str, ...] = ("*",)
    """Names of the objectives that it runs; all of the recipe's by default."""
    optimizer: Literal["adam", "laprop", "muon"] = "adam"
    """`laprop` (current V3) divides each gradient by the scale of its own time before averaging; pair it with an `eps`
    of nearly nothing. `muon` steps matrices by their orthogonalised momentum, and the rest by Adam."""
    lr: Annotated[float, Field(gt=0)] | ByObservation = 1e-3
    """Learning rate. `{vectors: 3e-3, images: 1e-3}` lets it depend on what is observed."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0 (current V3: 1,000)."""
    falls_after: int | None = Field(default=None, gt=0)
    """Steps after which the learning rate falls with their root: after four times as many it has half its height. null
    keeps it as it is."""
    eps: float = Field(default=1e-8, gt=0)
    """The optimizer's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW); 0 is none."""
    average: float | None = Field(default=None, gt=0, le=1)
    """Outside of updates (to act, to be judged, in checkpoints) the slots hold the moving average of the weights that
    the optimizer steps, which moves by this share each time; null keeps no average. Steps of a fixed length leave the
    weights noisy, and what lies many steps ahead feels it most. Where other learners trained these slots in stages
    between, it begins anew with what they made of them."""
    reward_scale: float = Field(default=1.0, ge=0)
    """Weight of the reward head's negative log-likelihood."""
    continue_scale: float = Field(default=1.0, ge=0)
    """Weight of the continue head's negative log-likelihood."""
    continue_discount: float = Field(default=1.0, gt=0, le=1)
    """Multiplies the continue target. With a discount folded in here, give the behaviour learner `discount: 1`."""
