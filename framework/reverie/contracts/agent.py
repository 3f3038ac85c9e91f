"""The assembled parts, as learners and objectives see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from reverie.contracts.behaviour import Actor, Imagination, Planner
from reverie.contracts.model import Decoder, Dynamics, Encoder, Head, Objective
from reverie.contracts.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


class AgentParts(Protocol):
    """Read access to every slot. A slot that the recipe leaves empty is None or absent from its mapping."""

    @property
    def observation(self) -> ObservationSpec: ...
    @property
    def action(self) -> ActionSpec: ...
    @property
    def encoder(self) -> Encoder: ...
    @property
    def dynamics(self) -> Dynamics[Any]: ...
    @property
    def decoder(self) -> Decoder | None: ...
    @property
    def decoders(self) -> Mapping[str, Decoder]: ...
    @property
    def heads(self) -> Mapping[str, Head]: ...
    @property
    def actor(self) -> Actor | None: ...
    @property
    def planner(self) -> Planner: ...
    @property
    def objectives(self) -> Mapping[str, Objective]: ...
    @property
    def imagination(self) -> Imagination: ...

    def preprocess(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Raw entries (*B, *shape) -> (*B, *model_shape): the one function for training and acting."""
        ...

    def postprocess(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back, float32: preprocessed (predicted) entries (*B, *model_shape) -> raw (*B, *shape); images in
        0..255 and (H, W, C), vectors in the environment's own units. For videos and errors that people read."""
        ...

    def module(self, slot: str) -> nn.Module:
        """The module in a slot path (`"dynamics"`, `"heads/reward"`).

        Raises:
            KeyError: for an empty slot, naming those that exist.
        """
        ...

    def slots(self) -> Sequence[str]:
        """The paths of all filled slots that hold parameters."""
        ...
