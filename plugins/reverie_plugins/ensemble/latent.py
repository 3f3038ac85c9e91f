"""The state of an ensemble: where the model is, and who predicts what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from reverie.contracts import Latent


@dataclass(frozen=True)
class EnsembleLatent(Latent):
    """x (*B, D), the observation or embedding, and member (*B) int64, which network predicts the next step."""

    event_dims: ClassVar[dict[str, int]] = {"member": 0}

    x: Tensor
    member: Tensor

    @property
    def features(self) -> Tensor:
        """(*B, D): x."""
        return self.x
