"""Options of TD-MPC2's parts. Where the paper and its code agree on a number, it is the default."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from reverie import ActorConfig, Config, LearnerConfig

Sizes = Mapping[str, Mapping[str, Any]]
Activation = Literal["silu", "relu", "elu", "gelu", "tanh", "mish"]

_UNITS: Sizes = {
    "tdmpc2_xs": {"units": 128, "activation": "silu"},
    "tdmpc2_1m": {"units": 384},
    "tdmpc2_5m": {"units": 512},
    "tdmpc2_19m": {"units": 1024},
    "tdmpc2_48m": {"units": 1792},
    "tdmpc2_317m": {"units": 4096},
}
_MEMBERS: Sizes = {"tdmpc2_1m": {"members": 2}, "tdmpc2_317m": {"members": 8}}


class ImplicitConfig(Config):
    """Options of dynamics `implicit`."""

    latent: int = Field(default=64, gt=0)
    """Size of the latent state, F. The paper's 5M: 512."""
    group: int = Field(default=8, gt=1)
    """Entries that share a simplex (SimNorm), V. Divides `latent`."""
    units: int = Field(default=128, gt=0)
    """Units of each hidden layer of the transition. The paper's 5M: 512."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers of the transition."""
    activation: Activation = "mish"
    """Activation of the hidden layers."""
    consistency: float = Field(default=20.0, ge=0)
    """Weight of the distance between predicted and encoded latents, averaged over their entries."""
    rho: float = Field(default=0.5, gt=0, le=1)
    """Each step further into a prediction weighs so much less, here and in the learners that do not say otherwise."""

    presets: ClassVar[Sizes] = {
        "tdmpc2_xs": {"latent": 64, "units": 128, "activation": "silu"},
        "tdmpc2_1m": {"latent": 128, "units": 384},
        "tdmpc2_5m": {"latent": 512, "units": 512},
        "tdmpc2_19m": {"latent": 768, "units": 1024},
        "tdmpc2_48m": {"latent": 768, "units": 1792},
        "tdmpc2_317m": {"latent": 1376, "units": 4096},
    }

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.latent % self.group:
            raise ValueError(f"`group` must divide `latent`: {self.group} does not divide {self.latent}")
        return self


class QEnsembleConfig(Config):
    """Options of head `q_ensemble`, which reads the state left and the action."""

    members: int = Field(default=5, gt=0)
    """Heads, M."""
    units: int = Field(default=128, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=2, gt=0)
    """Hidden layers."""
    activation: Activation = "mish"
    """Activation of the hidden layers."""
    dropout: float = Field(default=0.01, ge=0, lt=1)
    """Chance that a unit of the first hidden layer is left out while the head is trained."""
    bins: int = Field(default=101, ge=2)
    """Number of bins, evenly spaced in symlog space."""
    low: float = -10.0
    """Lowest bin, in symlog space: -10 is about -22,000."""
    high: float = 10.0
    """Highest bin, in symlog space. Targets beyond count as the outermost bin."""
    zero_init: bool = True
    """Start with uniform bins, so that the first values are 0."""

    presets: ClassVar[Sizes] = {name: {**units, **_MEMBERS.get(name, {})} for name, units in _UNITS.items()}

    @model_validator(mode="after")
    def _bins_fit(self) -> Self:
        if self.low >= self.high:
            raise ValueError("`low` must lie below `high`")
        return self


class PolicyPriorConfig(ActorConfig):
    """Options of actor `policy_prior`."""

    units: int = Field(default=128, gt=0)
    """Units of each hidden layer."""
    layers: int = Field(default=2, ge=0)
    """Hidden layers."""
    activation: Activation = "mish"
    """Activation of the hidden layers."""
    min_log_std: float = -10.0
    """Smallest logarithm of the standard deviation before the tanh."""
    max_log_std: float = 2.0
    """Largest logarithm of the standard deviation before the tanh; a fresh policy lies half-way between the two."""
    output_scale: float = Field(default=0.01, ge=0)
    """Scale of the last layer's initial variance: small, so that the first policy is nearly the same everywhere."""

    presets: ClassVar[Sizes] = _UNITS

    @model_validator(mode="after")
    def _deviations_ordered(self) -> Self:
        if self.min_log_std >= self.max_log_std:
            raise ValueError("`min_log_std` must lie below `max_log_std`")
        return self


class TDMPC2Config(LearnerConfig):
    """Options of learner `tdmpc2`: everything but the policy, by one summed loss."""

    trains: tuple[str, ...] = (
        "encoder",
        "dynamics",
        "decoder",
        "decoders/*",
        "heads/reward",
        "heads/continue",
        "heads/value",
        "objectives/*",
    )
    """Slots that this learner steps; those that the recipe leaves empty drop out of the default."""
    objectives: tuple[str, ...] = ("*",)
    """Names of further objectives that it runs; TD-MPC2 has none."""
    grad_clip: float | None = Field(default=20.0, gt=0)
    """Largest norm of this learner's gradient, over all slots that it trains; null does not clip it."""
    lr: float = Field(default=3e-4, gt=0)
    """Learning rate."""
    encoder_lr_scale: float = Field(default=0.3, gt=0)
    """The encoder learns by this multiple of `lr`, and so does the layer with which `implicit` reads its embedding."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's epsilon."""
    discount: float = Field(default=0.99, gt=0, le=1)
    """Discount per decision, unless `episode_length` is given. The planner's must be the same."""
    episode_length: int | None = Field(default=None, gt=0)
    """Decisions in an episode: sets the discount by the paper's rule, 1 - 5 / length, kept within 0.95 and 0.995."""
    rho: float | None = Field(default=None, gt=0, le=1)
    """Each step further into a prediction weighs so much less, in the losses of reward and value; null takes the
    dynamics' own number (0.5 where it has none)."""
    reward_scale: float = Field(default=0.1, ge=0)
    """Weight of the reward head's cross entropy."""
    value_scale: float = Field(default=0.1, ge=0)
    """Weight of the Q heads' cross entropy, averaged over them."""
    continue_scale: float = Field(default=1.0, ge=0)
    """Weight of the continue head's cross entropy."""
    slow_rate: float = Field(default=0.01, gt=0, le=1)
    """How far the slow copy of the Q heads, which targets are made of, moves towards them after each update."""

    @property
    def per_decision(self) -> float:
        """The discount in force."""
        if self.episode_length is None:
            return self.discount
        return min(max(1 - 5 / self.episode_length, 0.95), 0.995)


class PolicyPriorLearnerConfig(LearnerConfig):
    """Options of learner `policy_prior`."""

    trains: tuple[str, ...] = ("actor",)
    """Slots that this learner steps: the actor."""
    reaches: tuple[str, ...] = ("heads/value",)
    """Slots that its gradient passes through, frozen: the Q heads that the actor climbs."""
    grad_clip: float | None = Field(default=20.0, gt=0)
    """Largest norm of the actor's gradient; null does not clip it."""
    lr: float = Field(default=3e-4, gt=0)
    """Learning rate."""
    eps: float = Field(default=1e-5, gt=0)
    """Adam's epsilon."""
    rho: float | None = Field(default=None, gt=0, le=1)
    """Each step further into a prediction weighs so much less; null takes the dynamics' own number (0.5 where it has
    none)."""
    entropy: float = Field(default=1e-4, ge=0)
    """Weight of the policy's entropy, times the number of action entries."""
    scale_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the moving average of the range of values (their 5th to 95th percentile) that the gain is divided by."""
