"""How `reverie evaluate RUN --world-model` shows what was found: one table by horizon, then one line per number."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from reverie.cli.console import clean, console, say, styled, table

if TYPE_CHECKING:
    from rich.table import Table

    from reverie.evaluation.world_model import HorizonErrors, NotApplicable, WorldModelReport

_OTHER_ENTRIES = 12  # entries that get a line of their own
_ENTRY_HORIZON = 15
_NONE = "–"

Line = tuple[str, str, str]
"""Name, value, and what it means or why there is none."""


def show_world_model(report: "WorldModelReport", title: str = "world model") -> None:
    """Print the report under a title."""
    conditions = report.conditions
    say(title, "bold")
    say(
        f"{conditions.starts} starts in {conditions.episodes} held-out episodes: it sees the real past (at least "
        f"{conditions.context} steps where there are as many), then imagines along the actions really taken",
        "dim",
    )
    say()
    _show_observations(report)
    say()
    made: Table = table("", "", "")
    made.show_header = False
    made.columns[1].justify = "right"
    for name, value, meaning in _lines(report):
        made.add_row(styled(name), styled(value, "dim" if value == _NONE else "bold"), styled(meaning, "dim"))
    console.print(made)


def _show_observations(report: "WorldModelReport") -> None:
    from reverie.evaluation.world_model import HORIZONS, NotApplicable, OpenLoopResult

    found = report.observations
    if not isinstance(found, OpenLoopResult):
        say(f"observations: {_NONE}  {found.why}")
        return
    made: Table = table("steps ahead", "model", "copy-last", "mean", "starts", "")
    for column in made.columns[:5]:
        column.justify = "right"
    for horizon in HORIZONS:
        _add_horizon(made, str(horizon), found.overall, horizon)
    if len(found.entries) > 1:
        for key, errors in list(found.entries.items())[:_OTHER_ENTRIES]:
            name = f"{clean(key)}, {_ENTRY_HORIZON}"
            if isinstance(errors, NotApplicable):
                made.add_row(styled(name), *_blank(errors))
            else:
                _add_horizon(made, name, errors, _ENTRY_HORIZON)
    console.print(Padding(made, (0, 0, 0, 0)))
    say("root mean squared error of observations, in their standard deviations; lower is better", "dim")


def _add_horizon(made: "Table", name: str, errors: "HorizonErrors", horizon: int) -> None:
    from reverie.evaluation.world_model import HorizonRow

    row = errors.at(horizon)
    if not isinstance(row, HorizonRow):
        made.add_row(styled(name), *_blank(row))
        return
    verdict = "" if row.useful else f"no better than {' or '.join(row.unbeaten)}"
    model = Text(f"{row.model:.3f}", style="bold green" if row.useful else "bold yellow")
    made.add_row(
        styled(name), model, f"{row.copy_last:.3f}", f"{row.mean:.3f}", str(row.count), styled(verdict, "yellow")
    )


def _blank(reason: "NotApplicable") -> tuple[Text, ...]:
    return (*(styled(_NONE, "dim") for _ in range(4)), styled(reason.why, "dim"))


def _lines(report: "WorldModelReport") -> Iterator[Line]:
    yield from _reward_lines(report)
    yield from _continue_lines(report)
    yield from _latent_lines(report)
    yield from _return_lines(report)


def _reward_lines(report: "WorldModelReport") -> Iterator[Line]:
    from reverie.evaluation.world_model import HorizonRow, RewardResult

    found = report.reward
    if not isinstance(found, RewardResult):
        yield "reward", _NONE, found.why
        return
    for horizon in (1, found.span):
        row = found.errors.at(horizon)
        name = f"reward error, {horizon} ahead"
        if isinstance(row, HorizonRow):
            yield name, _number(row.model), f"RMSE per step (copy-last {row.copy_last:.4g}, mean {row.mean:.4g})"
        else:
            yield name, _NONE, row.why
    yield _line(
        "reward bias",
        found.bias,
        f"imagined minus real, {found.span} steps; above 0 it dreams of too much",
        signed=True,
    )
    yield _line("reward rank correlation", found.rank_correlation, "Spearman, imagined with real; 1 is perfect order")


def _continue_lines(report: "WorldModelReport") -> Iterator[Line]:
    from reverie.evaluation.world_model import ContinueResult

    found = report.cont
    if not isinstance(found, ContinueResult):
        yield "continue", _NONE, found.why
        return
    yield (
        "continue Brier score",
        _number(found.brier),
        f"0 is perfect; always saying the base rate gives {found.base_rate:.4g}",
    )
    ends = f"it expected {found.expected_ends:.3g} ends in {found.count} imagined steps, {found.ends} came"
    yield "continue calibration error", _number(found.calibration_error), f"mean |said - happened|; {ends}"


def _latent_lines(report: "WorldModelReport") -> Iterator[Line]:
    from reverie.evaluation.world_model import ActiveUnitsResult, ClassUsageResult, KLResult

    kl, latents = report.kl, report.latents
    if isinstance(kl, KLResult):
        yield "KL, nats per step", _number(kl.nats), "posterior from prior, before free nats: what the prior misses"
    else:
        yield "KL", _NONE, kl.why
    if isinstance(latents, ActiveUnitsResult):
        meaning = f"whose posterior mean varies by more than {latents.threshold:g} (variance)"
        yield "active units", f"{latents.active} of {latents.units}", meaning
    elif isinstance(latents, ClassUsageResult):
        yield "dead classes", f"{latents.dead} of {latents.classes}", "with less than a tenth of an even share"
        meaning = f"classes in use of {latents.per_group}; a single step leaves {latents.certainty:.3g} open"
        yield "perplexity", _number(latents.perplexity), meaning
    else:
        yield "latent usage", _NONE, latents.why


def _return_lines(report: "WorldModelReport") -> Iterator[Line]:
    from reverie.evaluation.world_model import ReturnGapResult, ValueResult

    value, policy = report.value, report.policy
    if isinstance(value, ValueResult):
        borrowed = f"; {value.borrowed:.0%} of it is the critic's own, behind time limits" if value.borrowed else ""
        meaning = f"RMSE to the real discounted return (mean {value.real:.4g}){borrowed}"
        yield "value error", _number(value.error), meaning
        yield "value bias", _number(value.bias, signed=True), "value minus return; above 0 the critic is optimistic"
        yield _line("value rank correlation", value.rank_correlation, "Spearman, value with return")
    else:
        yield "value", _NONE, value.why
    if isinstance(policy, ReturnGapResult):
        sums = f"imagined {policy.imagined:.4g}, real {policy.real:.4g} over {policy.steps} steps"
        yield "return gap", _number(policy.gap, signed=True), f"{sums}; above 0 the policy exploits the model"
    else:
        yield "return gap", _NONE, policy.why


def _line(name: str, value: "float | NotApplicable", meaning: str, *, signed: bool = False) -> Line:
    if isinstance(value, float):
        return name, _number(value, signed=signed), meaning
    return name, _NONE, value.why


def _number(value: float, *, signed: bool = False) -> str:
    return f"{value:+.3g}" if signed else f"{value:.3g}"
