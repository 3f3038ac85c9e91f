"""Drawing from torch's own distributions with a `Sampling`; distributions of this package bring a `draw`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from reverie.contracts.sampling import Sampling
from reverie.nn.distributions.one_hot import OneHot, index_from


def draw_from(distribution: Any, sampling: Sampling) -> Tensor:
    """A draw: reparameterised for normals, straight-through for one-hot vectors, without gradient for the rest.

    Temperature multiplies variances and divides logits.

    Raises:
        TypeError: for a kind that is not known; give it a method `draw(sampling) -> Tensor`.
    """
    own = getattr(distribution, "draw", None)
    if own is not None:
        drawn: Tensor = own(sampling)
        return drawn
    if isinstance(distribution, td.Independent):
        return draw_from(distribution.base_dist, sampling)
    if isinstance(distribution, td.TransformedDistribution):
        value = draw_from(distribution.base_dist, sampling)
        for transform in distribution.transforms:
            value = transform(value)
        return value
    if isinstance(distribution, td.Normal):
        noise = sampling.randn(distribution.loc.shape, device=distribution.loc.device)
        return distribution.loc + distribution.scale * noise * math.sqrt(sampling.temperature)
    if isinstance(distribution, td.OneHotCategorical):
        return OneHot(distribution.logits).draw(sampling)
    if isinstance(distribution, td.Categorical):
        noise = sampling.rand(distribution.logits.shape[:-1], device=distribution.logits.device)
        probs = torch.softmax(distribution.logits.detach() / sampling.temperature, -1)
        return index_from(probs, noise)
    if isinstance(distribution, td.Bernoulli):
        noise = sampling.rand(distribution.logits.shape, device=distribution.logits.device)
        probs = torch.sigmoid(distribution.logits.detach() / sampling.temperature)
        return (noise < probs).to(probs.dtype)
    raise TypeError(
        f"Sampling cannot draw from {type(distribution).__name__}: give it a method `draw(sampling)`, or use one of "
        "torch's Normal, OneHotCategorical, Categorical, Bernoulli, Independent or TransformedDistribution"
    )
