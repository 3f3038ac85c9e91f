"""Noise whose neighbours in time resemble each other (Timmer and Koenig 1995; iCEM, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def colouring(steps: int, exponent: float) -> Tensor:
    """(H, H): `white @ colouring` is noise of unit variance with power proportional to 1 / frequency^exponent.

    Each frequency of white noise is scaled by f^(-exponent / 2) and turned back. The constant part is scaled like the
    slowest oscillation; the variance of every entry is 1 for any exponent, so that a deviation means the same for all
    colours. Neighbours wrap round: the first entry resembles the last.
    """
    frequency = torch.fft.rfftfreq(steps, dtype=torch.float64)  # (F,)
    frequency[0] = 1 / steps
    scale = frequency ** (-exponent / 2)  # (F,)
    spectrum = torch.fft.rfft(torch.eye(steps, dtype=torch.float64), dim=-1)  # (H, F)
    matrix = torch.fft.irfft(spectrum * scale, n=steps, dim=-1)  # (H, H)
    scaled: Tensor = matrix / matrix.square().sum(0).sqrt()
    return scaled.float()
