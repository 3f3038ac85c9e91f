"""Held-out episodes as one padded batch, and the states in them from which a model is asked to imagine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reverie.evaluation.recording import Array, Recording


@dataclass(frozen=True)
class HeldOut:
    """B episodes from their resets on, arrival-aligned; rows behind an episode's end mean nothing.

    Args:
        obs: raw entries (B, T, *shape).
        action: (B, T, A).
        reward: (B, T).
        is_first: (B, T) bool.
        lengths: (B,) rows of each episode, the reset's included.
        ended: (B,) bool: its last row is a true end, not a time limit.
    """

    obs: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    is_first: Tensor
    lengths: Tensor
    ended: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.reward.shape[0], self.reward.shape[1]

    @property
    def valid(self) -> Tensor:
        """(B, T) bool: rows of an episode."""
        return torch.arange(self.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @property
    def cont(self) -> Tensor:
        """(B, T) bool: false at a true end."""
        last = torch.arange(self.shape[1], device=self.lengths.device) == self.lengths[:, None] - 1
        return ~(last & self.ended[:, None])

    def future(self, starts: Starts, horizon: int) -> Future:
        """What really followed each of N starts."""
        ahead = starts.step[:, None] + torch.arange(1, horizon + 1, device=starts.step.device)  # (N, H)
        valid = ahead < self.lengths[starts.episode][:, None]
        at = ahead.clamp(max=self.shape[1] - 1)
        row = starts.episode[:, None]
        return Future(
            obs={key: value[row, at] for key, value in self.obs.items()},
            last={key: value[starts.episode, starts.step] for key, value in self.obs.items()},
            action=self.action[row, at],
            reward=self.reward[row, at],
            last_reward=self.reward[starts.episode, starts.step],
            cont=self.cont[row, at],
            valid=valid,
        )


@dataclass(frozen=True)
class Starts:
    """N rows of held-out episodes, `episode` and `step` (N,) int64; the model has seen all up to and with them."""

    episode: Tensor
    step: Tensor

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, rows: slice | Tensor) -> Starts:
        return Starts(self.episode[rows], self.step[rows])


@dataclass(frozen=True)
class Future:
    """What followed N starts, H steps of it; where `valid` (N, H) is false, the episode was over.

    Args:
        obs: raw entries (N, H, *shape).
        last: raw entries (N, *shape), of the starts themselves.
        action: (N, H, A), that led to each row.
        reward, cont: (N, H), on arrival.
        last_reward: (N,).
    """

    obs: dict[str, Tensor]
    last: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    last_reward: Tensor
    cont: Tensor
    valid: Tensor


def held_out(recordings: Sequence[Recording], *, device: torch.device | str = "cpu") -> HeldOut:
    """One batch of recorded episodes.

    Raises:
        ValueError: if there is none.
    """
    if not recordings:
        raise ValueError("a world model is judged on at least one held-out episode")
    rows = max(len(recording) for recording in recordings)
    is_first = torch.zeros(len(recordings), rows, dtype=torch.bool)
    is_first[:, 0] = True

    def column(columns: Sequence[Array]) -> Tensor:  # (B, T, ...): short ones repeat their last row
        whole = [np.concatenate([part, part[-1:].repeat(rows - len(part), 0)]) for part in columns]
        return torch.from_numpy(np.stack(whole)).to(device)

    return HeldOut(
        obs={key: column([recording.obs[key] for recording in recordings]) for key in recordings[0].obs},
        action=column([recording.action for recording in recordings]),
        reward=column([recording.reward for recording in recordings]),
        is_first=is_first.to(device),
        lengths=torch.tensor([len(recording) for recording in recordings], device=device),
        ended=torch.tensor([bool(recording.is_terminal[-1]) for recording in recordings], device=device),
    )


def spread_starts(held: HeldOut, context: int, most: int) -> Starts:
    """At most `most` starts per episode, evenly spread over the rows that something follows and up to which the model
    has seen `context` rows. An episode that is too short for the context is entered at its last row but one.

    Each episode's starts lie a little later than those of the episode before it. Were they the same rows in all of
    them, every horizon would be judged at a few moments of the task only.
    """
    whole = [(episode, length) for episode, length in enumerate(held.lengths.tolist()) if length > 1]
    episodes, steps = [], []
    for place, (episode, length) in enumerate(whole):
        first = min(context - 1, length - 2)
        rows = length - 1 - first
        count = min(most, rows)
        shift = (place + 0.5) / len(whole)  # of the distance between two starts
        steps += [first + int((k + shift) * rows / count) for k in range(count)]
        episodes += [episode] * count
    device = held.lengths.device
    return Starts(torch.tensor(episodes, device=device), torch.tensor(steps, device=device))
