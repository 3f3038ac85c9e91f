"""Options of the `gym` environment."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from reverie import Config, DataConfig

Side = Annotated[int, Field(gt=0)]
Hidden = Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...]
Codes = tuple[Annotated[int, Field(gt=0)], ...]

RESERVED = ("render_mode", "max_episode_steps", "disable_env_checker", "id")
"""Arguments of `gymnasium.make` that belong to other options or to the framework."""


class GymConfig(Config):
    """A registered Gymnasium environment, and how it is shown to the agent.

    An observation that is one Box is called `state` (a vector) or `image`; dictionaries keep their names, and nested
    ones are joined by `/`. The steps below are applied in this order: view, one_hot, pixels, hide, resize, grey.
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
    registered with; null keeps that one. DeepMind Control and MiniGrid end their episodes themselves: theirs can be
    shortened here, and lengthened only through `kwargs`."""
    view: Literal["agent", "whole"] = "agent"
    """MiniGrid only: what the agent sees. `agent`: the cells before it, as the library gives them. `whole`: the whole
    grid with the agent in it (not with what it carries, which the library shows in the agent's view only)."""
    one_hot: dict[str, Codes] | None = None
    """Images whose numbers are codes and not brightness: how many codes each of their channels has. Each code becomes
    a channel of its own, 255 where it holds. Null: what is known of the library (MiniGrid: object, colour and state of
    each cell). `{}`: as the environment gives them."""
    pixels: int | None = Field(default=None, gt=0)
    """Adds an entry `image`, drawn by `env.render()`, of this many pixels on each side. With `hide: all` the agent
    sees nothing else. DeepMind Control draws through its camera 0, without a display through EGL."""
    hide: Literal["all"] | dict[str, Hidden] = Field(default_factory=dict)
    """Entries to remove, whole (`{mission: all}`) or by index (`{state: [1, 3]}` leaves CartPole without velocities).
    `all` removes every entry of the environment's own and leaves the one of `pixels`. A hidden entry may be of a kind
    that could not be shown, such as text."""
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

    def hidden(self, name: str) -> Hidden | None:
        """What is hidden of an entry: `all`, some indices, or None for nothing."""
        return "all" if self.hide == "all" else self.hide.get(name)


class MinariConfig(DataConfig):
    """A local Minari data set. Nothing is downloaded."""

    dataset: str = Field(min_length=1)
    """Its id, such as `D4RL/pen/human-v2`, or the folder that holds it."""
    hide: tuple[str, ...] = ()
    """Entries of the observations that are left out: those that are neither vectors nor images."""
