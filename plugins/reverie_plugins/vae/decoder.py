"""The decoder: a code -> the observation that it stands for."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from reverie.contracts import Decoder, Distribution, ObservationSpec
from reverie.nn import MLP, SquaredError
from reverie_plugins.vae.config import VAEDecoderConfig
from reverie_plugins.vae.networks import image_decoder, numbers


class VAEDecoder(Decoder):
    """p(observation | z): squared errors, summed over pixels and numbers (note 25).

    It reads the embedding, so that it can be trained without any dynamics, and shows the dreams of every dynamics whose
    code is such an embedding (`mdn_rnn`).
    """

    reads: ClassVar[Literal["code", "embed"]] = "embed"

    def __init__(self, config: VAEDecoderConfig, code_size: int, observation: ObservationSpec) -> None:
        super().__init__(config, code_size, observation)
        self.config = config
        self.order = list(observation)
        self.shapes = {key: spec.shape for key, spec in observation.vectors.items()}
        self.sizes = [numbers(spec) for spec in observation.vectors.values()]
        self.dense = (
            MLP(code_size, config.units, config.layers, sum(self.sizes), config.norm, config.activation)
            if self.sizes
            else None
        )
        self.keys = list(observation.images)
        self.nets = nn.ModuleList(
            image_decoder(config, code_size, key, spec) for key, spec in observation.images.items()
        )

    def forward(self, code: Tensor) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for key, net in zip(self.keys, self.nets, strict=True):
            found[key] = SquaredError(torch.sigmoid(net(code)), 3, self.config.image_scale)  # (*B, C, H, W)
        if self.dense is not None:
            parts = torch.split(self.dense.forward(code), self.sizes, -1)  # each (*B, numbers)
            for (key, shape), part in zip(self.shapes.items(), parts, strict=True):
                mean = part.reshape(*part.shape[:-1], *shape)  # (*B, *shape)
                found[key] = SquaredError(mean, len(shape), self.config.vector_scale)
        return {key: found[key] for key in self.order}
