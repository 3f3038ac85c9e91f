"""How the entries of an observation are grouped into network inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reverie.contracts import ObservationSpec


def vector_sizes(observation: ObservationSpec, asked: str) -> dict[str, int]:
    """Numbers in each vector entry.

    Raises:
        ValueError: if there is none; `asked` says who looked.
    """
    sizes = {key: math.prod(spec.shape) for key, spec in observation.vectors.items()}
    if not sizes:
        raise ValueError(f"{asked} reads vector entries, but the observation has only {_names(observation)}")
    return sizes


def image_groups(observation: ObservationSpec, asked: str) -> dict[tuple[int, int], dict[str, int]]:
    """Channels of each image entry, grouped by (height, width): images of one size share a stack of convolutions.

    Raises:
        ValueError: if there is no image entry; `asked` says who looked.
    """
    groups: dict[tuple[int, int], dict[str, int]] = {}
    for key, spec in observation.images.items():
        channels, height, width = spec.model_shape
        groups.setdefault((height, width), {})[key] = channels
    if not groups:
        raise ValueError(f"{asked} reads image entries, but the observation has only {_names(observation)}")
    return groups


def _names(observation: Mapping[str, object]) -> str:
    return ", ".join(f"'{key}'" for key in observation) or "no entries"
