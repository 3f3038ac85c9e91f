"""The loss of the autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.contracts import AgentParts, Decoder, Objective, View
from reverie.nn import nll, normal
from reverie_plugins.vae.config import VAELossConfig


class VAELoss(Objective):
    """-log p(observation | z) + beta * max(KL(q(z | observation) || N(0, 1)), free * Z), z drawn from q.

    The KL is summed over z before the floor, and the floor holds for each observation (World Models' code,
    `kl_tolerance`; note 25). Terms: one per entry, and `kl`, each (B, T). The dynamics is never run.
    """

    def __init__(self, config: VAELossConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self.config = config
        self._decoder(agent)

    def losses(self, view: View, agent: AgentParts) -> dict[str, Tensor]:
        posterior, config = view.posterior, self.config
        mean: Tensor = posterior.mean  # (B, T, Z)
        standard = normal(torch.zeros_like(mean), 1.0)
        divergence: Tensor = posterior.kl(standard)  # type: ignore[attr-defined]  # (B, T)
        floored = divergence.clamp_min(config.free * mean.shape[-1])  # (B, T)
        predicted = self._decoder(agent)(view.embed)
        entries = {key: nll(distribution, view.obs[key]) for key, distribution in predicted.items()}  # each (B, T)
        return {**entries, "kl": config.beta * floored}

    def _decoder(self, agent: AgentParts) -> Decoder:
        name = self.config.decoder
        decoder = agent.decoder if name is None else agent.decoders.get(name)
        slot = "decoder" if name is None else f"decoders/{name}"
        if decoder is None:
            raise ValueError(f"objective `vae` needs a decoder in the slot `{slot}`")
        if decoder.reads != "embed" and agent.dynamics.code_size != agent.encoder.embed_size:
            raise ValueError(
                f"objective `vae` decodes the encoder's code, but the decoder in `{slot}` reads the code of the "
                "dynamics, which has another size: use a decoder that reads the embedding (decoder `vae`)"
            )
        return decoder
