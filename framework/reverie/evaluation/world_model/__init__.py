"""How good a world model is, on episodes that it was not trained on. Every metric is a `torchmetrics.Metric`."""

from reverie.evaluation.world_model.applicable import NotApplicable
from reverie.evaluation.world_model.continuation import ContinueCalibration, ContinueResult, ReliabilityBin
from reverie.evaluation.world_model.horizons import HorizonErrors, HorizonRow
from reverie.evaluation.world_model.judge import judge
from reverie.evaluation.world_model.latents import (
    ActiveUnits,
    ActiveUnitsResult,
    ClassUsage,
    ClassUsageResult,
    KLResult,
    LatentKL,
)
from reverie.evaluation.world_model.open_loop import OpenLoopError, OpenLoopResult
from reverie.evaluation.world_model.report import HORIZONS, Conditions, WorldModelReport
from reverie.evaluation.world_model.returns import ReturnGap, ReturnGapResult, ValueAccuracy, ValueResult
from reverie.evaluation.world_model.reward import RewardAccuracy, RewardResult

__all__ = [
    "HORIZONS",
    "ActiveUnits",
    "ActiveUnitsResult",
    "ClassUsage",
    "ClassUsageResult",
    "Conditions",
    "ContinueCalibration",
    "ContinueResult",
    "HorizonErrors",
    "HorizonRow",
    "KLResult",
    "LatentKL",
    "NotApplicable",
    "OpenLoopError",
    "OpenLoopResult",
    "ReliabilityBin",
    "ReturnGap",
    "ReturnGapResult",
    "RewardAccuracy",
    "RewardResult",
    "ValueAccuracy",
    "ValueResult",
    "WorldModelReport",
    "judge",
]
