"""The objective of a model that is to see several steps ahead."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.contracts import AgentParts, Decoder, Objective, View
from reverie.nn import nll
from reverie_plugins.perception.config import OvershootingConfig
from reverie_plugins.perception.reconstruction import some_frames


class Overshooting(Objective):
    """-log p(observation | the state imagined k = 1..D steps before it was seen, along the actions really taken).

    Observation overshooting (Hafner et al. 2019, section 4 and appendix): filtering alone trains predictions of one
    step, whose errors add up where a model imagines. From each chunk K starts are drawn. Predictions that would lie
    behind the chunk or in another episode count as zeros, so that a start near the end weighs less.
    """

    def __init__(self, config: OvershootingConfig, agent: AgentParts) -> None:
        super().__init__(config, agent)
        self.config = config
        self._decoder(agent)

    def losses(self, view: View, agent: AgentParts) -> dict[str, Tensor]:
        begin = self._starts(view)  # (B, K)
        B, T = view.shape
        D = max(min(self.config.steps, T - 1), 1)  # in a chunk of one step, one prediction that does not count
        rows = torch.arange(B, device=begin.device)[:, None]  # (B, 1)
        ahead = begin[..., None] + torch.arange(1, D + 1, device=begin.device)  # (B, K, D)
        at = ahead.clamp(max=T - 1)
        other = view.batch.is_first[rows[..., None], at].cumsum(-1) > 0  # (B, K, D): another episode has begun
        valid = ((ahead < T) & ~other).flatten(1)  # (B, N), N = K D
        state = view.observed.states[rows, begin]  # (B, K)
        code = self._imagined(agent, state, view.batch.action[rows[..., None], at], view).flatten(1, 2)  # (B, N, C)
        weight, target = self.config.scale * T / (begin.shape[1] * D), at.flatten(1)  # (B, N)
        chosen = some_frames(view, agent, self.config.frames, valid.shape[1])  # (B, n) of N
        if chosen is not None:
            weight *= valid.shape[1] / chosen.shape[1]
            code, target, valid = code[rows, chosen], target[rows, chosen], valid[rows, chosen]
        seen = {key: entry[rows, target] for key, entry in view.obs.items()}
        nowhere = torch.zeros(B, T, dtype=code.dtype, device=code.device)
        return {
            key: nowhere.scatter_add(1, target, weight * nll(prediction, seen[key]) * valid)
            for key, prediction in self._decoder(agent)(code).items()
        }

    def _starts(self, view: View) -> Tensor:
        """(B, K) different steps of each row from which something follows, by noise that belongs to the row."""
        B, T = view.shape
        noise = view.sampling.rand((B, max(T - 1, 1)), device=view.batch.reward.device)
        return noise.topk(min(self.config.starts, noise.shape[1]), dim=1).indices

    def _imagined(self, agent: AgentParts, state: Any, action: Tensor, view: View) -> Tensor:
        """(B, K) states and (B, K, D, A) actions -> (B, K, D, C) codes."""
        latent, codes = state.flatten(), []
        sampling = view.sampling.with_mode(self.config.mode)
        for step in action.flatten(0, 1).unbind(1):  # D x (B * K, A)
            latent = agent.dynamics.imagine(latent, step.to(latent.features.dtype), sampling)
            codes.append(latent.code)
        found: Tensor = torch.stack(codes, 1).unflatten(0, action.shape[:2])
        return found

    @staticmethod
    def _decoder(agent: AgentParts) -> Decoder:
        decoder = agent.decoder
        if decoder is None or decoder.reads == "embed":
            raise ValueError("objective `overshooting` needs a decoder of states in the slot `decoder`")
        return decoder
