"""Encoders: preprocessed observations -> embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reverie.contracts import Encoder, ObservationSpec, Sampling
from reverie.nn import MLP
from reverie_plugins.perception.config import AutoEncoderConfig, ImageEncoderConfig, VectorEncoderConfig
from reverie_plugins.perception.entries import image_groups, vector_sizes
from reverie_plugins.perception.grids import image_encoder


class VectorEncoder(Encoder):
    """All vector entries, joined, through an MLP. Image entries are not looked at."""

    def __init__(self, config: VectorEncoderConfig, observation: ObservationSpec) -> None:
        super().__init__(config, observation)
        sizes = vector_sizes(observation, "encoder `vector`")
        self.events = {key: len(observation[key].shape) for key in sizes}
        self.net = MLP(sum(sizes.values()), config.units, config.layers, config.outputs, config.norm, config.activation)
        self.embed_size = self.net.output_size

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        flat = [obs[key].flatten(-dims) if dims else obs[key].unsqueeze(-1) for key, dims in self.events.items()]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat, -1)  # (*B, numbers)
        return self.net.forward(joined)  # (*B, E)


class ImageEncoder(Encoder):
    """Image entries of one size are stacked by channel and share their layers; other sizes have their own. Layers are
    convolutions, and dense where images are grids of few cells. Vector entries are not looked at."""

    def __init__(self, config: ImageEncoderConfig, observation: ObservationSpec) -> None:
        super().__init__(config, observation)
        groups = image_groups(observation, "encoder `image`")
        self.keys = [list(channels) for channels in groups.values()]
        nets = [image_encoder((sum(channels.values()), *size), config) for size, channels in groups.items()]
        self.embed_size = sum(net.output_size for net in nets)
        self.nets = nn.ModuleList(nets)

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        parts = []
        for keys, net in zip(self.keys, self.nets, strict=True):
            images = obs[keys[0]] if len(keys) == 1 else torch.cat([obs[key] for key in keys], -3)  # (*B, C, H, W)
            parts.append(net(images))  # (*B, E_g)
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)  # (*B, E)


class AutoEncoder(Encoder):
    """A `VectorEncoder` and an `ImageEncoder`, each where the observation has entries for it."""

    def __init__(self, config: AutoEncoderConfig, observation: ObservationSpec) -> None:
        super().__init__(config, observation)
        parts: list[Encoder] = []
        if observation.vectors:
            parts.append(VectorEncoder(config.of_vectors(), observation))
        if observation.images:
            parts.append(ImageEncoder(config, observation))
        if not parts:
            raise ValueError("encoder `auto` has nothing to read: the observation has no entries")
        self.parts = nn.ModuleList(parts)
        self.embed_size = sum(part.embed_size for part in parts)

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        embeds = [part(obs, sampling) for part in self.parts]
        return embeds[0] if len(embeds) == 1 else torch.cat(embeds, -1)  # (*B, E)
