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
        chosen = some_frames(view, agent, self.config.frames)  # (B, K) steps of each row
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

    def _decoder(self, agent: AgentParts) -> Decoder:
        name = self.config.decoder
        decoder = agent.decoder if name is None else agent.decoders.get(name)
        if decoder is None:
            slot = "decoder" if name is None else f"decoders/{name}"
            raise ValueError(f"objective `reconstruction` needs a decoder in the slot `{slot}`")
        return decoder


def some_frames(view: View, agent: AgentParts, frames: int | None, each: int | None = None) -> Tensor | None:
    """(B, K) of the predictions of every row that are decoded, by noise that belongs to the row.

    A row has `each` of them, one per step unless said otherwise; `frames` are decoded in all, over all ranks. None
    where all are, as it is where nothing shows pictures.
    """
    if frames is None or not agent.observation.images:
        return None
    rows, steps = view.shape
    count, each = max(1, frames // (rows * view.sampling.shard[1])), each or steps
    if count >= each:
        return None
    return view.sampling.rand((rows, each), device=view.batch.reward.device).topk(count, dim=1).indices
