"""The objective of every model with a decoder."""

from __future__ import annotations

import torch
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
        chosen = self._chosen(view, agent)
        if chosen is None:
            return self._errors(decoder, code, view.obs)
        rows = torch.arange(len(code), device=code.device)[:, None]
        some = {key: entry[rows, chosen] for key, entry in view.obs.items()}  # (B, K, *shape)
        # Steps that were not decoded count as zeros, so that the mean over all steps is that of the chosen ones.
        weight = code.shape[1] / chosen.shape[1]
        return {
            key: torch.zeros_like(code[..., 0]).scatter(1, chosen, weight * error)  # (B, T)
            for key, error in self._errors(decoder, code[rows, chosen], some).items()
        }

    def _errors(self, decoder: Decoder, code: Tensor, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        """(B, K) for each entry that the decoder predicts."""
        return {key: self.config.scale * nll(prediction, obs[key]) for key, prediction in decoder(code).items()}

    def _chosen(self, view: View, agent: AgentParts) -> Tensor | None:
        """(B, K) steps of each row, by noise that belongs to the row; None where all are decoded."""
        if self.config.frames is None or not agent.observation.images:
            return None
        B, T = view.shape
        each = max(1, self.config.frames // (B * view.sampling.shard[1]))
        if each >= T:
            return None
        noise = view.sampling.rand((B, T), device=view.batch.reward.device)
        return noise.topk(each, dim=1).indices

    def _decoder(self, agent: AgentParts) -> Decoder:
        name = self.config.decoder
        decoder = agent.decoder if name is None else agent.decoders.get(name)
        if decoder is None:
            slot = "decoder" if name is None else f"decoders/{name}"
            raise ValueError(f"objective `reconstruction` needs a decoder in the slot `{slot}`")
        return decoder
