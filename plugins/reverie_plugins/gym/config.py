"""Options of the `gym` environment."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from reverie import Config

Side = Annotated[int, Field(gt=0)]
Hidden = Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...]

RESERVED = ("render_mode", "max_episode_steps", "disable_env_checker", "id")
"""Arguments of `gymnasium.make` that belong to other options or to the framework."""


class GymConfig(Config):
    """A registered Gymnasium environment, and how it is shown to the agent.

    An observation that is one Box is called `state` (a vector) or `image`; dictionaries keep their names, and nested
    ones are joined by `/`. The steps below are applied in this order: pixels, hide, resize, grey.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9][A-Za-z0-9_.\-]*)?$")
    """Registered id, such as `CartPole-v1`, `dm_control/cartpole-swingup-v0` or `reverie/CartPolePixels-v0`. Ids of the
    form `module:Name` are refused: a recipe is data and imports nothing."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the environment itself, as `gymnasium.make(id, ...)` takes them."""
    action_repeat: int = Field(default=1, gt=0)
    """Frames for which each action is held. Rewards are summed over them; budgets count the frames."""
    time_limit: int | None = Field(default=None, gt=0)
    """Frames (not agent steps) after which an episode is cut, that is truncated. Replaces the limit that the id was
    registered with; null keeps that one."""
    pixels: int | None = Field(default=None, gt=0)
    """Adds an entry `image`, drawn by `env.render()`, of this many pixels on each side. With `hide: {state: all}` the
    agent sees nothing else."""
    hide: dict[str, Hidden] = Field(default_factory=dict)
    """Entries to remove, whole (`{mission: all}`) or by index (`{state: [1, 3]}` leaves CartPole without velocities).
    A hidden entry may be of a kind that could not be shown, such as text."""
    image_size: Side | tuple[Side, Side] | None = None
    """Resize every image entry to this size: one number, or [height, width]. Null leaves them as they are."""
    grey: bool = False
    """Turn colour images into one channel."""

    @model_validator(mode="after")
    def _no_reserved_arguments(self) -> Self:
        taken = sorted(set(self.kwargs) & set(RESERVED))
        if taken:
            raise ValueError(
                f"`kwargs` may not hold {', '.join(taken)}: `id` and `time_limit` have keys of their own, "
                "rendering and checking are the framework's"
            )
        return self
