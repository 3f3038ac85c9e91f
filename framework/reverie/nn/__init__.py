"""The shelf: blocks, distributions and formulas that components share."""

from reverie.nn.averaging import averages, iterates, keep_average, restart_averages
from reverie.nn.block_linear import BlockLinear
from reverie.nn.blocks import (
    MLP,
    ActivationName,
    Dense,
    LatentMLP,
    Norm,
    NormName,
    Product,
    activate,
    affine,
    affine_onto,
    has_bias,
    linear,
)
from reverie.nn.conv import ConvDecoder, ConvEncoder
from reverie.nn.distributions import (
    Bernoulli,
    Normal,
    OneHot,
    SquaredError,
    SymlogSquaredError,
    TanhNormal,
    mix_uniform,
    normal,
    one_hot_from,
)
from reverie.nn.draws import draw_from
from reverie.nn.ensemble import EnsembleLinear, EnsembleMLP
from reverie.nn.kl import kl_balanced, kl_joint, mean_over_ranks
from reverie.nn.laprop import LaProp
from reverie.nn.lookup import lookup_pays, onto_lookup
from reverie.nn.losses import nll
from reverie.nn.muon import Muon
from reverie.nn.normalize import RunningNormalizer
from reverie.nn.normed_ensemble import NormedEnsembleMLP
from reverie.nn.optim import OptimizerName, adam, clip_adaptively, make_optimizers, schedule_rate
from reverie.nn.recurrent import BlockGRU, GRUCell, StandardGRUCell
from reverie.nn.returns import ReturnScale, lambda_return, replayed_returns, trajectory_weights
from reverie.nn.scanned import Scanned
from reverie.nn.simplex import simplicial
from reverie.nn.slow import SlowCopy
from reverie.nn.symlog import symexp, symlog
from reverie.nn.two_hot import TwoHot, make_bins

__all__ = [
    "MLP",
    "ActivationName",
    "Bernoulli",
    "BlockGRU",
    "BlockLinear",
    "ConvDecoder",
    "ConvEncoder",
    "Dense",
    "EnsembleLinear",
    "EnsembleMLP",
    "GRUCell",
    "LaProp",
    "Muon",
    "LatentMLP",
    "Norm",
    "NormName",
    "Normal",
    "NormedEnsembleMLP",
    "OneHot",
    "OptimizerName",
    "Product",
    "ReturnScale",
    "RunningNormalizer",
    "Scanned",
    "SlowCopy",
    "SquaredError",
    "StandardGRUCell",
    "SymlogSquaredError",
    "TanhNormal",
    "TwoHot",
    "activate",
    "adam",
    "affine",
    "affine_onto",
    "averages",
    "clip_adaptively",
    "draw_from",
    "has_bias",
    "iterates",
    "keep_average",
    "kl_balanced",
    "kl_joint",
    "lambda_return",
    "linear",
    "lookup_pays",
    "make_bins",
    "make_optimizers",
    "mean_over_ranks",
    "mix_uniform",
    "nll",
    "normal",
    "one_hot_from",
    "replayed_returns",
    "restart_averages",
    "onto_lookup",
    "schedule_rate",
    "simplicial",
    "symexp",
    "symlog",
    "trajectory_weights",
]
