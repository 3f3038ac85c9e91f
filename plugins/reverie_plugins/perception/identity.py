"""No perception at all: the embedding is the observation, and the code is what a decoder would have predicted."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import Decoder, Distribution, Encoder, ObservationSpec, Sampling
from reverie.nn import SquaredError
from reverie_plugins.perception.config import IdentityDecoderConfig, IdentityEncoderConfig
from reverie_plugins.perception.entries import vector_sizes


class IdentityEncoder(Encoder):
    """All vector entries, joined, in the order of the observation. No parameters. Image entries are not looked at."""

    def __init__(self, config: IdentityEncoderConfig, observation: ObservationSpec) -> None:
        super().__init__(config, observation)
        sizes = vector_sizes(observation, "encoder `identity`")
        self.events = {key: len(observation[key].shape) for key in sizes}
        self.embed_size = sum(sizes.values())

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        flat = [obs[key].flatten(-dims) if dims else obs[key].unsqueeze(-1) for key, dims in self.events.items()]
        return flat[0] if len(flat) == 1 else torch.cat(flat, -1)  # (*B, numbers)


class IdentityDecoder(Decoder):
    """The code taken apart into the vector entries that `IdentityEncoder` joined. No parameters.

    Raises:
        ValueError: if the code has another size than all entries together.
    """

    def __init__(self, config: IdentityDecoderConfig, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        sizes = vector_sizes(observation, "decoder `identity`")
        if code_size != sum(sizes.values()):
            raise ValueError(
                f"decoder `identity` takes the code for the observation, but the code has {code_size} numbers and the "
                f"vector entries have {sum(sizes.values())}; `vector` learns to decode any code"
            )
        self.sizes = list(sizes.values())
        self.shapes = {key: observation[key].shape for key in sizes}

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        parts = torch.split(code, self.sizes, -1)  # each (*B, numbers)
        return {
            key: SquaredError(part.reshape(*part.shape[:-1], *shape), len(shape), 0.5)
            for (key, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
