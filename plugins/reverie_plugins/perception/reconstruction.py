"""The objective of every model with a decoder."""

from __future__ import annotations

from torch import Tensor

from reverie.contracts import AgentParts, Decoder, Objective, View
from reverie.nn import nll
from reverie_plugins.perception.config import ReconstructionConfig


class Reconstruction(Objective):
    """-log p(entry | state) for every entry that the decoder predicts, episode starts included."""

    def __init__(self, config: ReconstructionConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self.config = config
        self._decoder(agent)

    def losses(self, view: View, agent: AgentParts) -> dict[str, Tensor]:
        decoder = self._decoder(agent)
        code = view.embed if decoder.reads == "embed" else view.observed.train.code  # (B, T, C)
        predictions = decoder(code)
        return {
            key: self.config.scale * nll(prediction, view.obs[key])  # (B, T)
            for key, prediction in predictions.items()
        }

    def _decoder(self, agent: AgentParts) -> Decoder:
        name = self.config.decoder
        decoder = agent.decoder if name is None else agent.decoders.get(name)
        if decoder is None:
            slot = "decoder" if name is None else f"decoders/{name}"
            raise ValueError(f"objective `reconstruction` needs a decoder in the slot `{slot}`")
        return decoder
