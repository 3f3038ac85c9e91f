"""What a recipe may say besides its components. Every default of a recipe's own keys lives here."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from reverie.extension.config import ByObservation, Config, CountByObservation

LARGEST_BATCH = 2**24
"""Rows. Bounds of this kind are far beyond use: a recipe from a stranger is refused before it fills the memory."""


class Until(Config):
    """When something ends: the first of these to be reached. At least one must be given."""

    env_steps: int | None = Field(default=None, gt=0)
    """Environment steps (frames) since this stage began."""
    agent_steps: int | None = Field(default=None, gt=0)
    """Decisions since this stage began: frames divided by the action repeat."""
    updates: int | None = Field(default=None, gt=0)
    """Gradient updates since this stage began."""
    episodes: int | None = Field(default=None, gt=0)
    """Finished episodes since this stage began."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes since this stage began."""
    generations: int | None = Field(default=None, gt=0)
    """Updates of learners without gradients since this stage began."""

    @model_validator(mode="after")
    def _one_given(self) -> Self:
        if all(value is None for value in self.model_dump().values()):
            raise ValueError(
                "say when the stage ends: env_steps, agent_steps, updates, episodes, minutes or generations"
            )
        return self


class Collect(Config):
    """What a stage collects in each tick."""

    policy: Literal["random", "actor", "planner", "none"] = "planner"
    """Who acts: `random` draws uniformly, `actor` and `planner` explore with the agent, `none` collects nothing."""
    steps: int = Field(default=1, gt=0, le=10**9)
    """Agent steps per environment in each tick."""
    episodes: int | None = Field(default=None, gt=0)
    """Whole episodes per tick instead of steps."""


STAGE_NAME = r"^[a-z][a-z0-9_]*$"
"""Names of stages."""


class Stage(Config):
    """A part of a run: what is collected, who learns, and when it ends."""

    name: str = Field(pattern=STAGE_NAME)
    """What the stage is called in logs and in `status.json`."""
    collect: Collect = Collect(policy="none")
    """What is collected in each tick."""
    learners: tuple[str, ...] = ()
    """Names of the learners (`learners/<name>`) that learn in this stage."""
    freeze: tuple[str, ...] = ()
    """Slots that nobody may change during this stage."""
    ratio: Annotated[float, Field(gt=0)] | ByObservation | None = None
    """Replayed steps per collected agent step. Decides how many updates a tick makes. `{vectors: 128, images: 64}`
    lets it depend on what is observed."""
    updates: int | None = Field(default=None, gt=0)
    """Updates per tick, where no ratio is given; 1 if learners are named and neither is."""
    batch_size: Annotated[int, Field(gt=0, le=2**20)] | CountByObservation | None = None
    """Chunks per batch in this stage; null takes `replay.batch_size`."""
    length: Annotated[int, Field(gt=0, le=2**20)] | CountByObservation | None = None
    """Steps per chunk in this stage; null takes `replay.length`. An autoencoder learns best from single frames
    (`batch_size: 100, length: 1`), a sequence model needs chunks."""
    until: Until
    """When the stage ends."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ratio is not None and self.updates is not None:
            raise ValueError("give either `ratio` or `updates`, not both")
        if self.ratio is not None and self.collect.policy == "none":
            raise ValueError("`ratio` counts collected steps, but this stage collects none; use `updates`")
        if not self.learners and self.collect.policy == "none":
            raise ValueError("this stage neither collects nor learns")
        if not self.learners and (self.ratio is not None or self.updates is not None):
            raise ValueError("`ratio` and `updates` need `learners`")
        if not self.learners and (self.batch_size is not None or self.length is not None):
            raise ValueError("`batch_size` and `length` are of batches to learn from, and need `learners`")
        return self

    def batch_shape(self, replay: "Replay", images: bool) -> tuple[int, int]:
        """(B, T) of this stage's batches, for observations with or without images."""
        chosen = (self.batch_size or replay.batch_size, self.length or replay.length)
        size, length = (int(ByObservation.choose(number, images)) for number in chosen)
        return size, length

    def ratio_for(self, images: bool) -> float | None:
        """The replay ratio for observations with or without images; None where `updates` counts."""
        ratio: float | None = ByObservation.choose(self.ratio, images)
        return ratio


class Rounds(Config):
    """A list of stages, repeated."""

    rounds: int = Field(gt=0, le=100_000)
    """How often."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """What is repeated."""


def _entry_kind(value: Any) -> str:
    """Which of the two an entry of `stages` is, so that errors speak of one of them only.

    The tags are no possible keys: `messages` leaves them out of places.
    """
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return "<rounds>" if "rounds" in keys else "<stage>"


StageEntry = Annotated[
    Annotated[Stage, Tag("<stage>")] | Annotated[Rounds, Tag("<rounds>")], Discriminator(_entry_kind)
]


class Budget(Config):
    """Caps over the whole run, over all stages. Null means no cap."""

    env_steps: int | None = Field(default=None, gt=0)
    """Environment steps (frames)."""
    updates: int | None = Field(default=None, gt=0)
    """Gradient updates."""
    episodes: int | None = Field(default=None, gt=0)
    """Finished episodes."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes of training, resumed parts added up."""


class Replay(Config):
    """How experience is kept and sampled."""

    batch_size: Annotated[int, Field(gt=0, le=2**20)] | CountByObservation = 16
    """Chunks per batch, B. `{vectors: 64, images: 16}` lets it depend on what is observed."""
    length: Annotated[int, Field(gt=0, le=2**20)] | CountByObservation = 64
    """Steps per chunk, T. `{vectors: 64, images: 32}` lets it depend on what is observed."""
    capacity: int = Field(default=1_000_000, gt=0, le=10**12)
    """Rows kept; the oldest chunk files leave first."""
    chunk: int = Field(default=1024, gt=0, le=999_999)
    """Rows per chunk file on disk."""
    memory_mb: int = Field(default=1024, gt=0, le=2**24)
    """Memory for chunk files held at once; the rest is read from disk when it is sampled."""

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        for images in (False, True):
            size, length = (ByObservation.choose(number, images) for number in (self.batch_size, self.length))
            if size * length > LARGEST_BATCH:
                raise ValueError(f"a batch of {size} x {length} rows is more than {LARGEST_BATCH}")
        return self


class Environments(Config):
    """How many environments run side by side, and where."""

    count: int = Field(default=1, gt=0, le=4096)
    """Environments stepped together."""
    workers: Literal["none", "processes"] = "none"
    """`none` steps them in this process, `processes` gives each a process of its own."""
    timeout: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds that a worker process may take for a step or reset, or to build its environment."""


class Faults(Config):
    """What a run puts up with. By default nothing: it stops, and its last checkpoint stays good."""

    environment: Literal["fail", "restart"] = "fail"
    """`restart` builds an environment anew that raised, died, hung or gave something malformed, and cuts its open
    episode as truncated."""
    max_restarts: int = Field(default=10, ge=0, le=10**9)
    """Restarts over the whole run after which a fault stops it all the same."""
    not_finite: Literal["stop", "drop"] = "stop"
    """What NaN or infinity does in an observation, reward, loss or gradient: `drop` leaves out the step or the update
    that it was found in."""
    max_drops: int = Field(default=10, ge=0, le=10**9)
    """Steps and updates dropped over the whole run after which the next one stops it all the same."""


class Observations(Config):
    """How raw observations become what encoders read. Images are always scaled to [0, 1] and turned to (C, H, W)."""

    vectors: Literal["none", "symlog", "normalize", "normalize_symlog"] = "normalize_symlog"
    """`normalize` uses the running mean and standard deviation of everything collected so far."""


class Exploration(Config):
    """Noise that the policy adds to its actions while collecting (never while evaluating)."""

    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise on continuous actions, in units of [-1, 1]; clipped at the bounds."""
    epsilon: float = Field(default=0.0, ge=0, le=1)
    """Probability of a uniformly random action, where actions are discrete."""


class Evaluation(Config):
    """The protocol of evaluations during training and of `reverie evaluate`."""

    every: int | None = Field(default=None, gt=0)
    """Environment steps between evaluations during training (updates, in a run without an environment); null evaluates
    only at the end."""
    episodes: int = Field(default=5, gt=0, le=10_000)
    """Episodes per evaluation, played side by side."""
    mode: Literal["mode", "sample"] = "mode"
    """Whether latents and actions are the most likely ones or drawn."""
    seed: int = Field(default=1_000_000, ge=0, le=2**62)
    """Episode i uses this seed plus i."""
    world_model: bool = False
    """Whether evaluations during training also judge the world model on their episodes (columns `world/...`)."""


class Checkpoints(Config):
    """When the run is saved."""

    minutes: float = Field(default=2.0, gt=0)
    """Minutes between checkpoints."""
    ticks: int | None = Field(default=None, gt=0)
    """Ticks between checkpoints, besides the minutes."""
    keep: int = Field(default=2, gt=0, le=1000)
    """Newest checkpoints that are kept."""


class TrainerOptions(Config):
    """What Lightning and torch are told."""

    accelerator: Literal["cpu", "gpu", "cuda", "auto"] = "cpu"
    """Where to compute: on the `cpu`; on a `gpu` (or `cuda`, the same); `auto`, on a GPU where there is one."""
    devices: int = Field(default=1, gt=0, le=1024)
    """Processes on the CPU, or GPUs; more than one trains with DDP."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "64-true"] = "32-true"
    """Lightning's precision. `16-mixed` is refused: its loss scaling skips steps in silence. So is `bf16-true` where a
    learner keeps an average or a slow copy of weights."""
    threads: int | None = Field(default=None, gt=0, le=4096)
    """torch's threads; null leaves torch's own choice."""


class Logging(Config):
    """What is written while training."""

    every: int = Field(default=250, gt=0)
    """Environment steps between lines of metrics; updates in stages that step no environment."""
    tensorboard: bool = True
    """Write TensorBoard files under `metrics/`."""


class Settings(Config):
    """A recipe's keys that are not component slots."""

    seed: int = Field(default=0, ge=0, le=2**62)
    """Seed of everything."""
    run_dir: str | None = None
    """Folder of the run; null makes `runs/<recipe>-<env>-<time>`."""
    size: str | None = None
    """Preset for every component that has one of this name; a slot's own `size` wins."""
    stages: tuple[StageEntry, ...] = ()
    """What happens, in order."""
    budget: Budget = Budget()
    """Caps over the whole run."""
    replay: Replay = Replay()
    """How experience is kept and sampled."""
    environments: Environments = Environments()
    """How many environments run side by side."""
    faults: Faults = Faults()
    """What a run puts up with."""
    observations: Observations = Observations()
    """Preprocessing."""
    exploration: Exploration = Exploration()
    """Noise on collected actions."""
    evaluation: Evaluation = Evaluation()
    """How the agent is judged."""
    checkpoints: Checkpoints = Checkpoints()
    """When the run is saved."""
    trainer: TrainerOptions = TrainerOptions()
    """Devices and precision."""
    logging: Logging = Logging()
    """Metrics."""

    def short_chunks(self, learner: str, least: int) -> list[str]:
        """Keys (`stages.1.length`, `replay.length.images`) that give a learner chunks of fewer than `least` steps."""
        found: dict[str, int] = {}
        for key, stage in self.keyed_stages():
            if learner in stage.learners:
                value = stage.length or self.replay.length
                written = f"{key}.length" if stage.length else "replay.length"
                for images, kind in ((False, "vectors"), (True, "images")):
                    own = f"{written}.{kind}" if isinstance(value, ByObservation) else written
                    found[own] = int(ByObservation.choose(value, images))
        return [key for key, length in found.items() if length < least]

    def keyed_stages(self) -> Iterator[tuple[str, Stage]]:
        """Every stage as it was written, by its key: `stages.1`, or `stages.0.stages.1` within rounds."""
        for number, entry in enumerate(self.stages):
            if isinstance(entry, Rounds):
                yield from ((f"stages.{number}.stages.{inner}", stage) for inner, stage in enumerate(entry.stages))
            else:
                yield f"stages.{number}", entry

    def flat_stages(self) -> Iterator[tuple[int, Stage]]:
        """Every stage in the order in which it runs, with its round (from 0)."""
        for entry in self.stages:
            if isinstance(entry, Rounds):
                for number in range(entry.rounds):
                    for stage in entry.stages:
                        yield number, stage
            else:
                yield 0, entry
