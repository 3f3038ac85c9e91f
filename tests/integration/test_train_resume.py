"""`train` and `resume` from the command line and from Python: folders, signals, faults, what is told to people."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from reverie import api
from reverie.cli.main import run as reverie
from reverie.errors import NumericalFault, RunError
from reverie.training.checkpoint import checkpoint_of, list_checkpoints
from reverie.training.run import resume, train
from reverie.training.run_folder import read_status

from .conftest import TINY, differences, final_state, rows_of

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Make) -> Path:
    """A run that nobody disturbed."""
    return train(tiny_recipe(), run_dir=tmp_path_factory.mktemp("runs") / "alone", progress=False).run_dir


class At(Callback):
    """Does something at the end of a tick."""

    def __init__(self, ticks: int, action: Callable[[Any], None]) -> None:
        self.ticks, self.action = ticks, action

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == self.ticks:
            self.ticks = -1
            self.action(module)


def test_the_run_folder_holds_everything(alone: Path) -> None:
    present = {entry.name for entry in alone.iterdir()}
    assert {
        "recipe.lock.yaml",
        "provenance.json",
        "status.json",
        "metrics",
        "checkpoints",
        "replay",
        "videos",
    } <= present
    status = read_status(alone)
    assert (status["status"], status["stage"], status["env_steps"], status["updates"]) == ("completed", "done", 60, 20)
    assert len(list_checkpoints(alone / "checkpoints")) == 2
    evaluations = [json.loads(line) for line in (alone / "metrics" / "evaluations.jsonl").read_text().splitlines()]
    assert [entry["env_steps"] for entry in evaluations] == [25, 50, 60]
    lines = [row for row in rows_of(alone) if not row["eval/return"]]
    assert [int(row["env_steps"]) for row in lines] == [10, 20, 30, 40, 50, 60]
    assert lines[-1]["train/replay_ratio"] == "4.0"  # 20 updates x 12 steps over 60 decisions
    assert {row["stage"] for row in lines} == {"prefill", "train"}


def test_evaluations_do_not_count_and_do_not_disturb(alone: Path, tmp_path: Path, tiny_recipe: Make) -> None:
    other = train(tiny_recipe("evaluation.every=7"), run_dir=tmp_path / "run", progress=False).run_dir
    one, two = final_state(alone), final_state(other)
    assert differences(one["module"], two["module"]) == []
    assert differences(one["own"], two["own"]) == []
    assert differences(one["training"]["counters"], two["training"]["counters"]) == []


def test_python_trains_and_loads(tmp_path: Path, tiny: list[str]) -> None:
    result = api.train("dreamer", [*tiny, "seed=3"], run_dir=tmp_path / "run")
    assert result.status == "completed"
    agent = api.load(result.run_dir)
    state = agent.initial(2)
    action, state = agent.act({"state": np.zeros((2, 4), np.float32)}, state, np.ones(2, bool))
    assert action.shape == (2, 2)
    saved = checkpoint_of(result.run_dir).agent_state()
    assert differences(dict(agent.state_dict()), saved) == []


def test_an_existing_run_is_refused_with_advice(alone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reverie(["train", "dreamer", *TINY, f"run_dir={alone}", "--no-progress"]) == 2
    error = capfd.readouterr().err
    assert "reverie resume" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "dreemer"], "dreamer"),
        (["train", "dreamer", "dynamics.detr=3"], "deter"),
        (["resume", "/nowhere"], "not a run"),
    ],
)
def test_mistakes_end_with_code_2_and_no_traceback(
    arguments: list[str], word: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reverie(arguments) == 2
    error = capfd.readouterr().err
    assert word in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_resuming_a_complete_run_is_harmless(alone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = final_state(alone)
    assert reverie(["resume", str(alone)]) == 0
    assert "complete" in capfd.readouterr().out
    assert resume(alone).status == "completed"
    assert differences(before, final_state(alone)) == []


def test_a_run_can_be_repeated_from_its_lock(alone: Path, tmp_path: Path) -> None:
    result = api.train(alone / "recipe.lock.yaml", run_dir=tmp_path / "again")
    assert differences(final_state(alone)["module"], final_state(result.run_dir)["module"]) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_numbers(
    alone: Path, tmp_path: Path, tiny_recipe: Make, number: signal.Signals, code: int
) -> None:
    kill = At(33, lambda module: os.kill(os.getpid(), number))
    result = train(tiny_recipe(), run_dir=tmp_path / "run", callbacks=[kill], progress=False)
    assert (result.status, result.exit_code) == ("interrupted", code)
    assert read_status(result.run_dir)["status"] == "interrupted"
    assert checkpoint_of(result.run_dir).counters["ticks"] in (33, 34)
    assert resume(result.run_dir, progress=False).status == "completed"
    assert differences(final_state(alone), final_state(result.run_dir)) == []
    assert rows_of(alone) == rows_of(result.run_dir)


@pytest.mark.parametrize("judging", [True, False])
def test_a_signal_during_an_evaluation_saves_and_the_evaluation_is_made_again(
    judging: bool, alone: Path, tmp_path: Path, tiny_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reverie.evaluation import judged, protocol

    evaluate, calls = protocol.evaluate, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) in (1, 4):  # the first one, and the one at the end, at the second attempt
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **options)

    recipe = tiny_recipe(f"evaluation.world_model={str(judging).lower()}")
    whole = alone if judging else Path(train(recipe, run_dir=tmp_path / "whole", progress=False).run_dir)
    monkeypatch.setattr(judged if judging else protocol, "evaluate", interrupted)
    first = train(
        tiny_recipe(f"evaluation.world_model={str(judging).lower()}"), run_dir=tmp_path / "run", progress=False
    )
    assert first.exit_code == 143
    assert checkpoint_of(first.run_dir).counters["env_steps"] == 25
    assert resume(first.run_dir, progress=False).exit_code == 143
    assert read_status(first.run_dir)["env_steps"] == 60
    assert resume(first.run_dir, progress=False).status == "completed"
    assert differences(final_state(whole), final_state(first.run_dir)) == []
    assert rows_of(whole) == rows_of(first.run_dir)


def test_a_damaged_newest_checkpoint_or_replay_falls_back_to_the_one_before(
    alone: Path, tmp_path: Path, tiny_recipe: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    kill = At(33, lambda module: os.kill(os.getpid(), signal.SIGTERM))
    run = train(tiny_recipe(), run_dir=tmp_path / "run", callbacks=[kill], progress=False).run_dir
    newest, before = list_checkpoints(run / "checkpoints")
    theirs = {name for name, *_ in checkpoint_of(run, newest.name).plain("process-0.pt")["replay"]["chunks"]}
    older = {name for name, *_ in checkpoint_of(run, before.name).plain("process-0.pt")["replay"]["chunks"]}
    for name in theirs - older:
        (run / "replay" / name).write_bytes(b"damaged")
    assert resume(run).status == "completed"
    assert f"skipped {newest.name}" in capfd.readouterr().out
    assert differences(final_state(alone), final_state(run)) == []
    assert rows_of(alone) == rows_of(run)


def test_numbers_that_blow_up_stop_the_run_and_leave_the_batch(tmp_path: Path, tiny_recipe: Make) -> None:
    def poison(module: Any) -> None:
        with torch.no_grad():
            next(module.agent.heads["reward"].parameters()).fill_(float("nan"))

    with pytest.raises(
        NumericalFault, match=r"stage 'train', learner 'behaviour': loss .* at update \d+; the batch is in"
    ):
        train(tiny_recipe(), run_dir=tmp_path / "run", callbacks=[At(30, poison)], progress=False)
    status = read_status(tmp_path / "run")
    assert status["status"] == "failed"
    assert "learner 'behaviour'" in status["reason"]  # the poison is in the average, in which it learns
    (file,) = (tmp_path / "run" / "faults").iterdir()
    with np.load(file, allow_pickle=False) as batch:
        assert batch["obs.state"].shape == (2, 6, 4)
    state = checkpoint_of(tmp_path / "run").module_state()
    assert all(
        torch.isfinite(value).all() for value in state.values() if torch.is_tensor(value) and value.is_floating_point()
    )


def test_a_folder_in_use_is_refused_by_name(tmp_path: Path, tiny_recipe: Make) -> None:
    seen: list[str] = []

    def again(module: Any) -> None:
        with pytest.raises(RunError, match=f"process {os.getpid()}") as raised:
            resume(tmp_path / "run")
        seen.append(str(raised.value))

    train(tiny_recipe(), run_dir=tmp_path / "run", callbacks=[At(5, again)], progress=False)
    assert len(seen) == 1


def test_a_real_process_is_terminated_and_resumed(tmp_path: Path, alone: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "reverie.cli.main", "train", "dreamer", *TINY, f"run_dir={run}"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(2000):
        if read_status(run).get("ticks", 0) >= 7 or child.poll() is not None:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == 143, output
    assert f"reverie resume {run}" in output
    assert reverie(["resume", str(run), "--no-progress"]) == 0
    assert differences(final_state(alone), final_state(run)) == []


def test_a_budget_that_ends_before_the_first_update_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reverie(["train", "dreamer", *TINY, "budget.env_steps=8", f"run_dir={tmp_path / 'run'}"]) == 0
    told = " ".join("".join(capfd.readouterr()).split())
    assert "nothing was learned: the run ended after 8 environment steps, before the first update" in told
    assert "raise budget.env_steps" in told


@pytest.mark.parametrize(("count", "waits"), [(1, 0), (8, 1)])
def test_a_stage_that_waits_for_a_whole_chunk_is_told_once(
    count: int, waits: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty steps of eight environments are no chunk of six by any of them."""
    assert reverie(["train", "dreamer", *TINY, f"environments.count={count}", f"run_dir={tmp_path / 'run'}"]) == 0
    told = " ".join("".join(capfd.readouterr()).split())
    line = "the stage 'train' waits: a chunk has 6 steps, and no environment has given so many in a row yet (32 in all)"
    assert told.count(line) == told.count("waits:") == waits
    assert read_status(tmp_path / "run")["updates"] > 0


def test_only_a_stage_that_is_to_learn_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once in its five ticks; not the one after it, nor the end."""
    stages = (
        "stages=[{name: first, collect: {policy: random}, learners: [model], length: 20, until: {agent_steps: 40}},"
        "{name: second, collect: {policy: random}, until: {agent_steps: 8}},"
        "{name: third, collect: {policy: random}, learners: [model], length: 2, until: {updates: 2}}]"
    )
    options = [option for option in TINY if not option.startswith("stages")]
    assert reverie(["train", "dreamer", *options, stages, "environments.count=8", f"run_dir={tmp_path / 'run'}"]) == 0
    told = " ".join("".join(capfd.readouterr()).split())
    assert told.count("waits:") == 1
    assert "the stage 'first' waits: a chunk has 20 steps" in told


def test_plain_progress_says_where_the_run_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reverie(["train", "dreamer", *TINY, f"run_dir={tmp_path / 'run'}"]) == 0
    output = capfd.readouterr().out
    assert "prefill (1/2) | 0 / 20 frames" in output
    assert "evaluation" in output
    assert f"The run is in {tmp_path / 'run'}" in output
