"""Latents whose entries share their mass in small groups."""

from __future__ import annotations

from torch import Tensor

from reverie.nn.distributions.one_hot import softmax


def simplicial(x: Tensor, group: int) -> Tensor:
    """Simplicial normalisation (Lavoie et al. 2023; TD-MPC2, section 3.1): a softmax over each group of neighbours.

    Bounds a latent without a loss for it: every group lies on a simplex, sparse where the network is sure.

    Args:
        x: (*B, F), with F a multiple of `group`.
        group: entries of each simplex, V.

    Returns:
        (*B, F): F / V groups whose entries are positive and sum to 1.
    """
    return softmax(x.reshape(*x.shape[:-1], -1, group)).flatten(-2)  # (*B, F / V, V) -> (*B, F)
