"""Decoders: code -> a distribution for each observation entry."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reverie.contracts import Decoder, Distribution, ObservationSpec
from reverie.nn import MLP, SquaredError
from reverie_plugins.perception.config import AutoDecoderConfig, ImageDecoderConfig, VectorDecoderConfig
from reverie_plugins.perception.entries import image_groups, vector_sizes
from reverie_plugins.perception.grids import image_decoder


class VectorDecoder(Decoder):
    """All vector entries from one MLP; squared error, summed over the numbers of an entry."""

    def __init__(self, config: VectorDecoderConfig, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        self.sizes = vector_sizes(observation, "decoder `vector`")
        self.shapes = {key: observation[key].shape for key in self.sizes}
        self.scale = config.vector_scale
        total = sum(self.sizes.values())
        self.net = MLP(code_size, config.units, config.layers, total, config.norm, config.activation)

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        parts = torch.split(self.net.forward(code), list(self.sizes.values()), -1)  # each (*B, numbers)
        return {
            key: SquaredError(part.reshape(*part.shape[:-1], *shape), len(shape), self.scale)
            for (key, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


class ImageDecoder(Decoder):
    """Images of one size from shared layers: transposed convolutions, dense layers for grids of few cells. Squared
    error, summed over pixels (note 7)."""

    def __init__(self, config: ImageDecoderConfig, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        groups = image_groups(observation, "decoder `image`")
        self.channels = list(groups.values())
        self.scale = config.image_scale
        self.nets = nn.ModuleList(
            image_decoder(code_size, (sum(channels.values()), *size), config) for size, channels in groups.items()
        )

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for channels, net in zip(self.channels, self.nets, strict=True):
            pixels = torch.sigmoid(net(code))  # (*B, C, H, W)
            for key, part in zip(channels, torch.split(pixels, list(channels.values()), -3), strict=True):
                found[key] = SquaredError(part, 3, self.scale)
        return found


class AutoDecoder(Decoder):
    """A `VectorDecoder` and an `ImageDecoder`, each where the observation has entries for it."""

    def __init__(self, config: AutoDecoderConfig, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        parts: list[Decoder] = []
        if observation.vectors:
            parts.append(VectorDecoder(config.of_vectors(), code_size, observation))
        if observation.images:
            parts.append(ImageDecoder(config, code_size, observation))
        if not parts:
            raise ValueError("decoder `auto` has nothing to predict: the observation has no entries")
        self.parts = nn.ModuleList(parts)
        self.order = list(observation)

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for part in self.parts:
            found.update(part(code))
        return {key: found[key] for key in self.order}
