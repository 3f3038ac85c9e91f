"""Run folders from strangers: what lies in them besides checkpoints, and values of the right form that lie."""

import copy
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from victims import Refused, Victim

import reverie
from reverie.errors import ReverieError, RunError
from reverie.nn import make_optimizers
from reverie.training import untrusted
from reverie.training.checkpoint.optimizers import load_optimizer
from reverie.training.checkpoint.randomness import capture, reinstate, require_sound
from reverie.training.run_folder import RunFolder


def test_a_thousand_folders_in_one_another(victim: Victim) -> None:
    """Deeper than Python's recursion, and than `os.walk` of some versions."""
    here = os.getcwd()
    os.chdir(victim.path / "videos")
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    try:
        for open_it in (reverie.load, reverie.resume, reverie.dream_env):
            with pytest.raises(RunError, match="nested no deeper than 16 levels"):
                open_it(victim.path)
    finally:
        subprocess.run(["rm", "-rf", str(victim.path)], check=True)  # Python's own way is recursive, too


HOLDERS: dict[str, Any] = {
    "escape sequences": {"pid": 7, "host": "\x1b[2Jhost", "since": "\r" + "x" * 5000},
    "no process": {"pid": -1, "host": os.uname().nodename, "since": "now"},
    "every process": {"pid": 0, "host": os.uname().nodename, "since": "now"},
    "beyond any process": {"pid": 10**30, "host": os.uname().nodename, "since": "now"},
    "words": {"pid": "1; rm", "host": [], "since": {}},
    "a list": [1],
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_holder_that_is_forged(name: str, victim: Victim, refused: Refused) -> None:
    holder = RunFolder(victim.path)
    holder.lock()
    try:
        forged = HOLDERS[name]
        text = forged if isinstance(forged, str) else json.dumps(forged)
        (victim.path / ".holder.json").write_text(text)
        said = refused("resume", str(victim.path))
    finally:
        holder.unlock()
    assert "run is in use by" in said
    assert len(said) < 500


@pytest.mark.parametrize("place", [".lock", "status.json", "metrics/metrics.csv", ".holder.json", ".status.json.new"])
def test_folders_where_files_belong(place: str, victim: Victim, refused: Refused) -> None:
    path = victim.path / place
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "inside").write_text("x")
    assert place.rpartition("/")[2].removesuffix(".new").lstrip(".").partition(".")[0] in refused(
        "resume", str(victim.path), "--no-progress"
    )


HEAD = b"env_steps,train/return\n"
WIDE = b",".join(b"%x" % n for n in range(2**12)) + b"\n" + (b"1," * 2**12 + b"\n") * 20
TABLES: dict[str, tuple[str, bytes, str]] = {
    "many rows": ("metrics.csv", HEAD + b"1,1\n" * 2**14, "more than 4096 lines"),
    "many cells": ("metrics.csv", WIDE, "more than 65536 cells"),
    "long line": ("metrics.csv", HEAD + b"1," * 2**22, "a line that is too long"),
    "long cell": ("metrics.csv", HEAD + b"1" * 2**20, "field larger than field limit"),
    "many points": ("evaluations.jsonl", b"7\n" * 2**14, "more than 4096 lines"),
    "long point": ("evaluations.jsonl", b"[" + b"{}," * 2**21 + b"{}]\n", "a line that is too long"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_would_fill_the_memory(
    name: str, victim: Victim, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With smaller limits for rows and cells: reading as many as are allowed takes seconds."""
    monkeypatch.setattr(untrusted, "MOST_ROWS", 2**12)
    monkeypatch.setattr(untrusted, "MOST_CELLS", 2**16)
    file, content, message = TABLES[name]
    (victim.path / "metrics" / file).write_bytes(content)
    for words in (("curve", str(victim.path)), ("resume", str(victim.path), "--no-progress")):
        said = refused(*words)
        assert f"{file} is not a table of metrics: " in said
        assert message in said


def test_the_last_number_of_a_checkpoint(victim: Victim, refused: Refused) -> None:
    """After it a run would learn and never be able to save."""
    victim.checkpoint.rename(victim.checkpoint.with_name("checkpoint-99999999"))
    assert "checkpoint-99999999 has the last number" in refused("resume", str(victim.path), "--no-progress")
    assert reverie.load(victim.path)


def deeper(value: Any, keys: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every container on the way, with the key that leads on."""
    for key in keys:
        yield value, key
        value = value[key]


LIES: dict[str, tuple[str, list[Any], Any]] = {
    "a word as a sum": ("process-0.pt", ["averages", "sums"], {"model/loss": "x"}),
    "a sum without its count": ("process-0.pt", ["averages"], {"sums": {"a": 1.0}, "counts": {}}),
    "an episode of words": ("process-0.pt", ["collector", "environments", "episodes"], ["\x1b[2J"]),
    "flags of a thousand environments": ("process-0.pt", ["collector", "is_first"], [True] * 1000),
    "a memory of another size": ("process-0.pt", ["collector", "memory"], {"deter": torch.zeros(7, 5)}),
    "generators of nothing": ("process-0.pt", ["randomness", "python"], [3, [1, 2], None]),
    "callbacks in a list": ("process-0.pt", ["callbacks"], [1, 2]),
    "moments of another shape": ("training.pt", ["optimizers", 0, "state", 0, "mean"], torch.zeros(3, 5, 7)),
    "a rate that is a word": ("training.pt", ["optimizers", 0, "param_groups", 0, "lr"], "\x1b[2Jfast"),
    "steps below zero": ("training.pt", ["counters", "env_steps"], -(10**18)),
    "no optimizers": ("training.pt", ["optimizers"], []),
    "a curve of words": ("training.pt", ["report", "curve"], [["a", "b"]]),
    "columns that are none": ("training.pt", ["report", "table", "columns"], 7),
    "a stage before the first": ("training.pt", ["cursor", "index"], -1),
}


@pytest.mark.parametrize("name", LIES)
def test_values_that_lie_are_one_clear_line(name: str, victim: Victim, refused: Refused) -> None:
    """Whether they are found when they are put in place or by the code that meets them first."""
    victim.keep_one()
    training = victim.load("training.pt")
    training["cursor"]["index"] -= 1  # the last stage begins again, so that there is something to do
    victim.save("training.pt", training)
    file, keys, lie = LIES[name]
    state = victim.load(file)
    *_, (owner, key) = deeper(state, keys)
    owner[key] = lie
    victim.save(file, state)
    said = refused("resume", str(victim.path), "--no-progress")
    assert "cannot be restored, its files do not fit this run" in said or "does not work in this run" in said


def test_a_run_that_is_its_own_dream(victim: Victim, refused: Refused) -> None:
    lock = victim.path / "recipe.lock.yaml"
    text = lock.read_text()
    assert "id: CartPole-v1" in text
    kwargs = f"kwargs: {{run: {victim.path}}}"
    changed = text.replace("id: CartPole-v1", "id: reverie/Dream-v0").replace("kwargs: {}", kwargs)
    assert kwargs in changed
    lock.write_text(changed)
    assert "its environment is its own dream" in refused("evaluate", str(victim.path))
    with pytest.raises(ReverieError, match="its environment is its own dream"):
        reverie.dream_env(victim.path)


def test_a_dream_of_a_billion_streams(victim: Victim, bounded: None) -> None:
    own = victim.load("process-0.pt")
    own["replay"]["streams"] = 10**9
    victim.save("process-0.pt", own)
    with pytest.raises(RunError, match="1000000000 streams, more than their names can tell apart"):
        reverie.dream_env(victim.path).reset(seed=0)


# Numbers that native code would follow out of its buffers.


def one_weight() -> tuple[torch.nn.Parameter, torch.optim.Adam]:
    parameter = torch.nn.Parameter(torch.zeros(50, 4))
    optimizer = torch.optim.Adam([parameter], fused=True)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return parameter, optimizer


MOMENTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "too small": lambda state: state["state"][0].update(exp_avg=torch.zeros(1)),
    "a single number": lambda state: state["state"][0].update(exp_avg_sq=torch.tensor(0.0)),
    "too large": lambda state: state["state"][0].update(exp_avg=torch.zeros(50, 5)),
    "many steps": lambda state: state["state"][0].update(step=torch.zeros(50)),
    "another switch": lambda state: state["param_groups"][0].update(amsgrad=True),
    "no longer fused": lambda state: state["param_groups"][0].update(fused=None),
    "a word": lambda state: state["param_groups"][0].update(lr="fast"),
    "three of two": lambda state: state["param_groups"][0].update(betas=(0.9, 0.9, 0.9)),
    "infinite": lambda state: state["param_groups"][0].update(eps=float("inf")),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_state_of_an_optimizer_fits_or_is_refused(name: str) -> None:
    _, optimizer = one_weight()
    state = optimizer.state_dict()
    MOMENTS[name](state)
    with pytest.raises(ValueError, match="of an optimizer"):
        load_optimizer(one_weight()[1], state)


def test_a_view_in_the_state_of_an_optimizer_is_written_out() -> None:
    """A fused kernel takes the memory behind the first number for the others."""
    parameter, optimizer = one_weight()
    state = optimizer.state_dict()
    state["state"][0]["exp_avg"] = torch.full((1,), 0.5).expand(50, 4)
    load_optimizer(optimizer, state)
    assert optimizer.state[parameter]["exp_avg"].stride() == (4, 1)
    assert (optimizer.state[parameter]["exp_avg"] == 0.5).all()


def test_a_schedule_may_have_changed_numbers() -> None:
    parameter, optimizer = one_weight()
    state = optimizer.state_dict()
    state["param_groups"][0].update(lr=0.5, betas=(0.1, 0.2))
    load_optimizer(optimizer, state)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert torch.equal(optimizer.state[parameter]["exp_avg"], state["state"][0]["exp_avg"])


@pytest.mark.parametrize("forged", [{"taken": -1}, {"falls_after": -5}, {"warmup": 0}, {"full_lr": 9.0}])
def test_a_schedule_of_our_own_is_the_recipes(forged: dict[str, Any]) -> None:
    """Steps below none turn descent into ascent, or are divided by."""

    def made() -> torch.optim.Optimizer:
        return make_optimizers("adam", [torch.nn.Parameter(torch.zeros(2))], 0.1, 1e-8, warmup=3, falls_after=5)[0]

    state = made().state_dict()
    state["param_groups"][0].update(taken=7, lr=0.05)
    load_optimizer(made(), copy.deepcopy(state))
    state["param_groups"][0].update(forged)
    with pytest.raises(ValueError, match="the schedule of an optimizer"):
        load_optimizer(made(), state)


@pytest.mark.parametrize("position", [-1, 625, 10**6, 1.5, "x", None])
def test_positions_of_generators_stay_inside_their_buffers(position: Any) -> None:
    """NumPy believes them, and reads there."""
    state = capture()
    state["numpy"][2] = position
    with pytest.raises((ValueError, TypeError)):
        reinstate(state)
    with pytest.raises(ValueError, match="outside of its buffer"):
        require_sound({"bit_generator": "Philox", "buffer_pos": position if position != 625 else 5, "state": {}})
    reinstate(capture())
