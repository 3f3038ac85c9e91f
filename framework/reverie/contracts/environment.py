"""Environments in the standard form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    import gymnasium as gym


class EnvironmentFactory(ABC):
    """Makes Gymnasium environments in the standard form.

    `__init__(config)`. The standard form: a `Dict` observation space in the order of `observation`, whose entries are
    float32 vectors or uint8 (H, W, C) images; actions `Box(-1, 1, (size,), float32)` or `Discrete(size)`; one `step`
    is one agent step, that is `action_repeat` frames; rewards are summed over them; a time limit gives `truncated`.
    `info["frames"]` may say how many frames a step really took (fewer at an episode's end).
    """

    observation: ObservationSpec
    action: ActionSpec
    action_repeat: int = 1

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def make(self, index: int = 0, *, render: bool = False) -> gym.Env[Any, Any]:
        """Environment number `index` of a vector; with `render`, `env.render()` gives RGB frames."""

    def render_observation(self, obs: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        """A picture (H, W, 3) uint8 of the state that an observation (entries (*shape), perhaps predicted ones) stands
        for, where the environment's state can be set from it; None where it cannot. Equal entries, equal pictures."""
        return None

    def entry_labels(self, key: str) -> Sequence[str] | None:
        """What the elements of a vector entry mean (`("cart position", ...)`), one label each; None where unknown."""
        return None
