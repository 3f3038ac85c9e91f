"""Distributions that satisfy `reverie.contracts.Distribution` and draw from a `Sampling`.

Own classes and not torch's: those take no generator, normalise and validate on every construction (30 to 60 us each, as
much as a small network), and know neither uniform mixtures nor exact straight-through draws.
"""

from reverie.nn.distributions.bernoulli import Bernoulli
from reverie.nn.distributions.bounded import TanhNormal
from reverie.nn.distributions.normal import Normal, normal
from reverie.nn.distributions.one_hot import OneHot, mix_uniform, one_hot_from
from reverie.nn.distributions.squared import SquaredError, SymlogSquaredError

__all__ = [
    "Bernoulli",
    "Normal",
    "OneHot",
    "SquaredError",
    "SymlogSquaredError",
    "TanhNormal",
    "mix_uniform",
    "normal",
    "one_hot_from",
]
