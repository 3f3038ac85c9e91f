"""How far an imagined future is from the real one, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reverie.contracts.specs import ArraySpec
from reverie.evaluation.world_model.applicable import NOTHING, NotApplicable
from reverie.evaluation.world_model.horizons import HorizonErrors, HorizonMetric


@dataclass
class OpenLoopResult:
    """Open-loop errors in standard deviations of the held-out targets.

    Args:
        overall: root mean over the entries of their squared errors.
        entries: by entry; one that never varies has no unit to be measured in.
    """

    overall: HorizonErrors
    entries: dict[str, HorizonErrors | NotApplicable]


class OpenLoopError(HorizonMetric):
    """Root mean squared error of predicted observations by horizon, in units in which the mean's error is about 1.

    Vectors: each element is divided by its own standard deviation over all targets, then averaged; elements that never
    vary are left out. Images: all pixels share one unit, the root of their mean variance, so that pixels which hardly
    ever change do not decide.

    Args:
        entries: the observation entries that are predicted.
        horizon: the longest, in agent steps.
    """

    def __init__(self, entries: Mapping[str, ArraySpec], horizon: int = 50, **options: Any) -> None:
        self._sizes = {key: int(torch.Size(spec.shape).numel()) for key, spec in entries.items()}
        self._images = {key for key, spec in entries.items() if spec.is_image}
        super().__init__(horizon, sum(self._sizes.values()), **options)

    def update(
        self, predicted: Mapping[str, Tensor], real: Mapping[str, Tensor], last: Mapping[str, Tensor], valid: Tensor
    ) -> None:
        """Take in N rollouts.

        Args:
            predicted: raw entries (N, H, *shape), h = 0 being one step after the last one seen.
            real: what really came, the same shapes; anything where not valid.
            last: (N, *shape), the last observation that the model saw.
            valid: (N, H) bool, false after the episode's end.
        """
        self.add(self._flat(predicted, 2), self._flat(real, 2), self._flat(last, 1), valid)

    def compute(self) -> OpenLoopResult | NotApplicable:
        """The errors so far."""
        found = self.mean_squares()
        if found is None:
            return NotApplicable(NOTHING)
        scales: dict[str, Tensor] = {}
        start = 0
        for key, size in self._sizes.items():
            part = slice(start, start + size)
            scales[key] = torch.zeros_like(found.variance)
            scales[key][part] = self._scale(key, found.variance[part], found.varies[part])
            start += size
        # `rows` takes the mean over all E elements, so each scale also carries E.
        scales = {key: scale * len(scale) for key, scale in scales.items() if bool(scale.any())}
        if not scales:
            return NotApplicable("no entry of the observation ever varies")
        overall = torch.stack(list(scales.values())).mean(0)  # (E,)
        return OpenLoopResult(
            found.rows(overall),
            {
                key: found.rows(scales[key]) if key in scales else NotApplicable("it never varies")
                for key in self._sizes
            },
        )

    def _scale(self, key: str, variance: Tensor, varies: Tensor) -> Tensor:
        """(e,) weights under which the sum of squared errors becomes the entry's error."""
        if not bool(varies.any()):
            return torch.zeros_like(variance)
        if key in self._images:
            return torch.full_like(variance, 1.0 / float(variance.sum()))
        return torch.where(varies, 1.0 / (variance.clamp_min(1e-300) * varies.sum()), torch.zeros_like(variance))

    def _flat(self, entries: Mapping[str, Tensor], dims: int) -> Tensor:
        return torch.cat([entries[key].flatten(dims) for key in self._sizes], -1)  # (N, H, E) or (N, E)
