"""The state of the MDN-RNN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.contracts import Latent


@dataclass(frozen=True)
class MDNLatent(Latent):
    """The code z (*B, Z) of what was seen or dreamed, and the LSTM's output h and cell c (*B, H).

    h at step t has read z up to t-1 and the actions up to the one that led to t: it is what z at t was predicted from,
    and it knows nothing of the action that is chosen at t (note 27).
    """

    z: Tensor
    h: Tensor
    c: Tensor

    @property
    def features(self) -> Tensor:
        """(*B, Z + H): [z, h]."""
        return torch.cat((self.z, self.h), -1)

    @property
    def code(self) -> Tensor:
        """(*B, Z)."""
        return self.z


@dataclass(frozen=True)
class CodeLatent(MDNLatent):
    """The same state, of which heads, actors and critics see z alone."""

    @property
    def features(self) -> Tensor:
        """(*B, Z)."""
        return self.z
