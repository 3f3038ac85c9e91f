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

    observation: ObservationSpec
    action: ActionSpec
    encoder: Encoder
    dynamics: Dynamics[Any]
    decoder: Decoder | None
    decoders: Mapping[str, Decoder]
    heads: Mapping[str, Head]
    actor: Actor | None
    planner: Planner
    objectives: Mapping[str, Objective]
    imagination: Imagination

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
