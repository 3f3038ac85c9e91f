"""Everything that was found out about a world model, for people, for `--json` and for `metrics.csv`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reverie.evaluation.episodes import Mode
from reverie.evaluation.world_model.applicable import NotApplicable
from reverie.evaluation.world_model.continuation import ContinueResult
from reverie.evaluation.world_model.horizons import HorizonErrors, HorizonRow
from reverie.evaluation.world_model.latents import ActiveUnitsResult, ClassUsageResult, KLResult
from reverie.evaluation.world_model.open_loop import OpenLoopResult
from reverie.evaluation.world_model.returns import ReturnGapResult, ValueResult
from reverie.evaluation.world_model.reward import RewardResult

HORIZONS = (1, 5, 15, 50)
"""Horizons that tables and logs show; the results hold all of them."""


@dataclass
class Conditions:
    """Under which a world model was judged.

    Args:
        episodes: held-out ones.
        starts: states in them from which it imagined.
        context: rows that it had seen at the earliest start.
        horizon: the longest.
        mode: whether latents (and the policy's actions) were the most likely ones or drawn.
        discount: of values; None where no learner says.
    """

    episodes: int
    starts: int
    context: int
    horizon: int
    mode: Mode
    discount: float | None


@dataclass
class WorldModelReport:
    """One result for each metric, or why it does not apply."""

    conditions: Conditions
    observations: OpenLoopResult | NotApplicable
    reward: RewardResult | NotApplicable
    cont: ContinueResult | NotApplicable
    kl: KLResult | NotApplicable
    latents: ActiveUnitsResult | ClassUsageResult | NotApplicable
    value: ValueResult | NotApplicable
    policy: ReturnGapResult | NotApplicable

    def as_json(self) -> dict[str, Any]:
        """Plain data. What does not apply is `{"why": reason}`; errors by horizon are lists over 1..H."""
        found = {name: _plain(value) for name, value in vars(self).items()}
        return {**{("continue" if name == "cont" else name): value for name, value in found.items()}}

    def numbers(self) -> dict[str, float]:
        """The numbers for a line of `metrics.csv`, by name without prefix; what does not apply is left out."""
        found: dict[str, float] = {}
        if isinstance(self.observations, OpenLoopResult):
            for row in _rows(self.observations.overall):
                found[f"error_{row.horizon}"] = row.model
                found[f"error_copy_last_{row.horizon}"] = row.copy_last
                found[f"error_mean_{row.horizon}"] = row.mean
        if isinstance(self.reward, RewardResult):
            found |= {f"reward_error_{row.horizon}": row.model for row in _rows(self.reward.errors)}
            found |= _some(reward_bias=self.reward.bias, reward_rank_correlation=self.reward.rank_correlation)
        if isinstance(self.cont, ContinueResult):
            found |= {"continue_brier": self.cont.brier, "continue_calibration_error": self.cont.calibration_error}
        if isinstance(self.kl, KLResult):
            found["kl"] = self.kl.nats
        if isinstance(self.latents, ActiveUnitsResult):
            found["active_units"] = float(self.latents.active)
        if isinstance(self.latents, ClassUsageResult):
            found |= {"dead_classes": float(self.latents.dead), "perplexity": self.latents.perplexity}
        if isinstance(self.value, ValueResult):
            found |= {"value_error": self.value.error, "value_bias": self.value.bias}
            found |= _some(value_rank_correlation=self.value.rank_correlation)
        if isinstance(self.policy, ReturnGapResult):
            found["return_gap"] = self.policy.gap
        return found


def _rows(errors: HorizonErrors) -> list[HorizonRow]:
    found = [errors.at(horizon) for horizon in HORIZONS]
    return [row for row in found if isinstance(row, HorizonRow)]


def _some(**values: float | NotApplicable) -> dict[str, float]:
    return {name: value for name, value in values.items() if not isinstance(value, NotApplicable)}


def _plain(value: Any) -> Any:
    if isinstance(value, HorizonErrors):
        return [_plain(row) for row in value.rows]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if hasattr(value, "__dataclass_fields__"):
        nested = {name: getattr(value, name) for name in value.__dataclass_fields__}
        return (
            _plain(nested)
            if any(not isinstance(entry, float | int | str) for entry in nested.values())
            else asdict(value)
        )
    return value
