"""The encoder: an observation -> a normal over its code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reverie.contracts import Encoder, ObservationSpec, Sampling
from reverie.nn import MLP, Normal, linear
from reverie_plugins.vae.config import VAEEncoderConfig
from reverie_plugins.vae.networks import image_encoder, numbers

FIRST_LOG_VARIANCE = -8.0
"""Of the posterior of a fresh encoder. Where little moves in a picture, fresh codes differ by little: under noise near
1 a run stayed at the mean picture for 1,400 updates."""


class VAEEncoder(Encoder):
    """q(z | observation), a normal with diagonal covariance (World Models, section 2.1; Kingma and Welling 2014).

    Vector entries, joined, pass through an MLP and each image through its convolutions; one linear layer on all of it
    gives the mean and the logarithm of the variance. Each observation is coded by itself: what a single one does not
    show (a velocity) is not in the code.
    """

    def __init__(self, config: VAEEncoderConfig, observation: ObservationSpec) -> None:
        super().__init__(config, observation)
        self.embed_size = config.latent
        sizes = {key: numbers(spec) for key, spec in observation.vectors.items()}
        self.events = {key: len(observation[key].shape) for key in sizes}
        self.dense = (
            MLP(sum(sizes.values()), config.units, config.layers, norm=config.norm, activation=config.activation)
            if sizes
            else None
        )
        self.keys = list(observation.images)
        nets = [image_encoder(config, key, spec) for key, spec in observation.images.items()]
        self.nets = nn.ModuleList(nets)
        joined = sum(net.output_size for net in nets) + (self.dense.output_size if self.dense is not None else 0)
        if not joined:
            raise ValueError("encoder `vae` has nothing to read: the observation has no entries")
        self.outputs = linear(joined, 2 * config.latent)
        with torch.no_grad():  # little noise at first: a decoder that cannot read the code learns to ignore it
            self.outputs.bias[config.latent :] = FIRST_LOG_VARIANCE

    def posterior(self, obs: dict[str, Tensor]) -> Normal:
        """Batch shape (*B), event (Z,)."""
        parts = [net(obs[key]) for key, net in zip(self.keys, self.nets, strict=True)]  # each (*B, .)
        if self.dense is not None:
            flat = [obs[key].flatten(-dims) if dims else obs[key].unsqueeze(-1) for key, dims in self.events.items()]
            parts.append(self.dense.forward(torch.cat(flat, -1)))  # (*B, units)
        outputs = self.outputs(parts[0] if len(parts) == 1 else torch.cat(parts, -1))  # (*B, 2 * Z)
        mean, log_variance = outputs.chunk(2, -1)  # each (*B, Z)
        return Normal(mean, (0.5 * log_variance).exp(), 1)

    def forward(self, obs: dict[str, Tensor], sampling: Sampling) -> Tensor:
        return sampling.draw(self.posterior(obs))  # (*B, Z)
