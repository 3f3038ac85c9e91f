"""The symmetric logarithm (DreamerV3, equation 1)."""

import torch
from torch import Tensor


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): near the identity around 0, logarithmic far from it."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp|x| - 1): the inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(torch.abs(x))
