"""A learner whose weights are averaged comes back after a stage in which another one trained the same slots."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.tiny_runs import TINY, final_state
from torch import Tensor

import reverie

STAGES = (
    "{name: prefill, collect: {policy: random}, until: {agent_steps: 20}}",
    "{name: first, learners: [model], until: {updates: 4}}",
    "{name: between, learners: [other], until: {updates: 4}}",
    "{name: again, learners: [model], until: {updates: 1}}",
)
OVERRIDES = (
    *(item for item in TINY if not item.startswith("stages")),
    "+learners/other=world_model",
    "learners.other.lr=0.05",
    "learners.other.average=null",
    "learners.model.lr=1e-9",  # so that its own step changes nothing that one could see
    "evaluation.every=1000",
)


def dynamics_after(run: Path, stages: int) -> dict[str, Tensor]:
    reverie.train("dreamer", [*OVERRIDES, f"stages=[{','.join(STAGES[:stages])}]", f"run_dir={run}"], progress=False)
    return {name: value for name, value in final_state(run)["module"].items() if ".dynamics." in name}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Tensor]]:
    """The dynamics' weights by the number of stages that ran."""
    folder = tmp_path_factory.mktemp("runs")
    return {stages: dynamics_after(folder / str(stages), stages) for stages in (2, 3, 4)}


def test_it_goes_on_from_what_the_other_one_made(weights: dict[int, dict[str, Tensor]]) -> None:
    moved = [name for name, value in weights[3].items() if not torch.allclose(value, weights[2][name], atol=1e-2)]
    assert moved
    for name in moved:
        torch.testing.assert_close(weights[4][name], weights[3][name], atol=1e-6, rtol=0)


def test_a_stage_in_which_nobody_learns_leaves_the_average_as_it_was(tmp_path: Path) -> None:
    again = "{name: again, learners: [model], until: {updates: 3}}"
    collects = "{name: more, collect: {policy: random}, until: {agent_steps: 10}}"
    stages = f"stages=[{STAGES[0]},{STAGES[1]},{collects},{again}]"
    reverie.train("dreamer", [*OVERRIDES, stages], run_dir=tmp_path / "run", progress=False)
    states = final_state(tmp_path / "run")["training"]["optimizers"]
    counts = [group["averaged"] for state in states for group in state["param_groups"] if "averaged" in group]
    assert counts == [7, 7]  # of the matrices, and of the rest
