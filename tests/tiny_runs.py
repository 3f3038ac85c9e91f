"""Runs so small that a test can afford several, and what two runs must share to be the same."""

import csv
from pathlib import Path
from typing import Any

import torch

TINY = [
    "env=cartpole",
    "env.time_limit=12",
    "dynamics.deter=8",
    "dynamics.hidden=8",
    "dynamics.groups=2",
    "dynamics.classes=3",
    "encoder.units=8",
    "encoder.layers=1",
    "decoder.units=8",
    "decoder.layers=1",
    "heads.reward.units=8",
    "heads.continue.units=8",
    "heads.value.units=8",
    "actor.units=8",
    "actor.layers=1",
    "learners.behaviour.horizon=3",
    "learners.behaviour.starts=4",
    "replay.batch_size=2",
    "replay.length=6",
    "replay.chunk=32",
    "stages.0.until.env_steps=20",
    "stages.1.until.env_steps=40",
    "stages.1.ratio=6",
    "evaluation.every=25",
    "evaluation.episodes=1",
    "logging.every=10",
    "logging.tensorboard=false",
    "checkpoints.ticks=7",
    "trainer.threads=1",
]
"""A Dreamer that trains for 60 steps in about two seconds."""


def final_state(run: Path) -> dict[str, Any]:
    """Everything in a run's newest checkpoint that a resumed run must share with an uninterrupted one."""
    from reverie.training.checkpoint import checkpoint_of

    checkpoint = checkpoint_of(run)
    training, own = checkpoint.plain("training.pt"), checkpoint.plain("process-0.pt")
    training["counters"].pop("seconds")
    training["cursor"]["began"].pop("seconds")
    return {"module": checkpoint.module_state(), "training": training, "own": own}


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The places in which two nested states differ, bit by bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
        return [] if same else [f"{path}: tensors differ"]
    if type(one) is not type(other):
        return [f"{path}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{path}: keys {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [d for key in one for d in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{path}: {len(one)} and {len(other)} entries"]
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    same = one == other or (one != one and other != other)
    return [] if same else [f"{path}: {one!r} and {other!r}"]


def rows_of(run: Path) -> list[dict[str, str]]:
    """The lines of metrics without those columns that measure time."""
    with (run / "metrics" / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key != "seconds" and not key.startswith("time/")}
            for row in csv.DictReader(file)
        ]
