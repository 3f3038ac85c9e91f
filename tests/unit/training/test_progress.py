"""What a person sees: a live display on a terminal, plain lines elsewhere."""

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from reverie.contracts import Counters, EpisodeResult
from reverie.recipes.schema import Settings
from reverie.training.progress import Pace, RunProgress, sparkline
from reverie.training.stages import StageCursor


def shown(terminal: bool, width: int = 120) -> tuple[RunProgress, io.StringIO, Any]:
    settings = Settings.model_validate(
        {
            "stages": [
                {"name": "prefill", "collect": {"policy": "random"}, "until": {"env_steps": 100}},
                {"name": "train", "collect": {"policy": "actor"}, "learners": ["m"], "until": {"updates": 2000}},
            ]
        }
    )
    text = io.StringIO()
    progress = RunProgress("dreamer on CartPole-v1", Console(file=text, force_terminal=terminal, width=width))
    module = SimpleNamespace(
        cursor=StageCursor(settings),
        counters=Counters(),
        ticker=SimpleNamespace(episodes=[]),
        trainer=SimpleNamespace(is_global_zero=True),
    )
    report = SimpleNamespace(curve=[], latest={})
    progress.keeper = SimpleNamespace(report=report)  # type: ignore[assignment] # only its report is read
    return progress, text, module


def test_plain_lines_name_stage_frames_return_ratio_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("reverie.training.progress.time.monotonic", lambda: now[0])
    progress, text, module = shown(terminal=False)
    progress.on_train_start(module.trainer, module)
    module.cursor.advance(Counters(env_steps=100))
    module.counters.__dict__.update(env_steps=100, agent_steps=50, updates=0)
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    now[0] += 20
    module.counters.__dict__.update(env_steps=1500, agent_steps=750, updates=500, replayed_steps=48000)
    module.ticker.episodes = [EpisodeResult(20.0, 5, 0, True), EpisodeResult(30.0, 5, 0, True)]
    progress.keeper.report.latest = {"eval/return": 42.0, "eval/best": 44.5}  # type: ignore[union-attr] # set above
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("prefill (1/2) | 0 / 100 frames")
    assert lines[-1] == (
        "train (2/2) | 1,500 frames, 500 / 2,000 updates | return 25.0 | replay ratio 64.0 | 25.0 updates/s | "
        "evaluation 42.0 (best 44.5) | 1:00 left"
    )


def test_a_budget_below_the_end_of_the_stage_is_the_end_that_is_shown() -> None:
    progress, text, module = shown(terminal=False)
    module.cursor.budget = {"env_steps": 60}
    progress.on_train_start(module.trainer, module)
    assert text.getvalue().startswith("prefill (1/2) | 0 / 60 frames")


def test_an_evaluation_is_told_at_once_and_nothing_twice() -> None:
    progress, text, module = shown(terminal=False)
    progress.on_train_start(module.trainer, module)
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    assert len(text.getvalue().splitlines()) == 1
    progress.keeper.report.curve.append((10, 3.0))  # type: ignore[union-attr] # set above
    module.counters.env_steps = 10
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    progress.on_train_end(module.trainer, module)
    assert len(text.getvalue().splitlines()) == 2


def test_a_terminal_gets_a_live_display_that_is_put_away() -> None:
    progress, text, module = shown(terminal=True)
    progress.keeper.report.curve = [(1, 10.0), (2, 50.0)]  # type: ignore[union-attr] # set above
    progress.on_train_start(module.trainer, module)
    progress.say("a line from outside")
    progress.on_exception(module.trainer, module, RuntimeError())
    assert progress._live is None
    output = text.getvalue()
    assert "dreamer on CartPole-v1" in output
    assert "0 / 100 frames" in output
    assert "10 ▁█ 50" in output
    assert "a line from outside" in output
    assert output.endswith(("\x1b[?25h", "\n"))  # the cursor is visible again


def test_what_is_over_has_no_ratio_of_its_last_stage() -> None:
    progress, text, module = shown(terminal=False)
    module.counters.__dict__.update(env_steps=2100, agent_steps=2100, updates=2000, replayed_steps=2_000_000)
    for _ in range(2):
        module.cursor.advance(module.counters)
    progress.on_train_start(module.trainer, module)
    assert text.getvalue().startswith("done | 2,100 frames")
    assert "replay ratio" not in text.getvalue()


def test_the_display_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("reverie.training.progress.time.monotonic", lambda: now[0])
    progress, text, module = shown(terminal=True, width=80)
    report: Any = progress.keeper.report  # type: ignore[union-attr] # set above
    report.curve = [(k, -1500.0 + 40 * k) for k in range(40)]
    report.latest = {"eval/return": -1234.5, "eval/best": -1111.1, **WORLD}
    progress.on_train_start(module.trainer, module)
    module.cursor.advance(Counters(env_steps=100))
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    now[0] += 5000
    module.counters.__dict__.update(env_steps=15_000, agent_steps=7_500, updates=500, replayed_steps=7_450 * 1024)
    module.ticker.episodes = [EpisodeResult(-1234.5, 200, 0, False)]
    progress.on_train_batch_end(module.trainer, module, None, None, 0)
    progress.on_exception(module.trainer, module, RuntimeError())
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in text.getvalue().splitlines()]
    last = [line.strip() for line in lines if line.strip()][-5:]
    assert last[0].startswith("dreamer on CartPole-v1  train (2/2)")
    assert last[0].endswith(" left")
    assert last[1] == "15,000 frames, 500 / 2,000 updates   return -1234.5"
    assert last[2] == "replay ratio 1017.2   0.1 updates/s"
    assert last[3].startswith("evaluation -1234.5 (best -1111.1)   -1020 ")
    assert last[4] == "model error 15 ahead 0.35 (better baseline 1.14)"
    assert "…" not in "".join(last)


WORLD = {"world/error_15": 0.351, "world/error_copy_last_15": 2.04, "world/error_mean_15": 1.143}


@pytest.mark.parametrize("terminal", [False, True])
def test_how_far_the_model_is_wrong_is_told_where_it_is_judged(terminal: bool) -> None:
    progress, text, module = shown(terminal)
    progress.keeper.report.latest = dict(WORLD)  # type: ignore[union-attr] # set above
    progress.on_train_start(module.trainer, module)
    progress.on_exception(module.trainer, module, RuntimeError())
    assert "model error 15 ahead 0.35 (better baseline 1.14)" in text.getvalue()


@pytest.mark.parametrize("missing", WORLD)
def test_a_model_error_without_its_baselines_is_not_told(missing: str) -> None:
    progress, text, module = shown(terminal=False)
    rest = {name: value for name, value in WORLD.items() if name != missing}
    progress.keeper.report.latest = rest  # type: ignore[union-attr] # set above
    progress.on_train_start(module.trainer, module)
    assert "model error" not in text.getvalue()


def test_time_left_is_measured_within_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("reverie.training.progress.time.monotonic", lambda: now[0])
    pace = Pace()
    pace.watch(0, 0.5, 100)  # resumed in the middle
    assert pace.seconds_left(0.5) == float("inf")
    now[0] = 10.0
    pace.watch(0, 0.75, 150)
    assert pace.seconds_left(0.75) == pytest.approx(10.0)
    assert pace.updates_per_second(150) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([1.0], ""),
        ([3.0, 3.0], "3 ▁▁ 3"),
        ([0.0, 50.0, 100.0], "0 ▁▅█ 100"),
        ([-200.0, -100.0], "-200 ▁█ -100"),
    ],
)
def test_sparkline(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected
