"""NaN and infinity in losses, gradients and weights: stop, or drop the update; never saved, the batch written out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import CLIMB, FAMILIES, HERE
from pytorch_lightning import Callback
from stumbles import stumbling_recipe

from nursery import Nursery
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.training.checkpoint import checkpoint_of
from reverie.training.faults import require_finite
from reverie.training.run import train
from reverie.training.run_folder import read_status
from tiny_runs import differences, final_state, rows_of

NO_ENV = [line for line in FAMILIES["no gradients"].overrides if not line.startswith("env")]
MOODY = ["learners/moody=moody", "stages.1.learners=[moody]", "learners.moody.trains=[heads/reward]"]


def finite(run: Path) -> bool:
    state = checkpoint_of(run).module_state()
    return all(bool(value.isfinite().all()) for value in state.values() if torch.is_tensor(value))


@pytest.mark.parametrize("mood", ["loss", "gradient"])
def test_by_default_the_run_stops_before_a_weight_has_changed(mood: str, tmp_path: Path) -> None:
    recipe = stumbling_recipe(*MOODY, f"learners.moody.mood={mood}", "checkpoints.ticks=1")
    what = "loss 'reward' is" if mood == "loss" else "the norm of its gradient is nan"
    with pytest.raises(
        NumericalFault, match=f"stage 'train', learner 'moody': {what}.* at update 3.*; the batch is in"
    ):
        train(recipe, run_dir=tmp_path / "run", progress=False)
    (path,) = (tmp_path / "run" / "faults").iterdir()
    assert path.name == "batch-3-0.npz"
    assert str(path) in read_status(tmp_path / "run")["reason"]
    with np.load(path, allow_pickle=False) as batch:
        assert batch["obs.state"].shape == (2, 6, 2)
        assert set(batch.files) >= {"action", "reward", "is_first", "is_terminal", "is_last", "step_id"}
    assert checkpoint_of(tmp_path / "run").counters["updates"] == 3
    assert finite(tmp_path / "run")


@pytest.mark.parametrize("mood", ["loss", pytest.param("gradient", marks=pytest.mark.slow)])
def test_dropped_updates_leave_no_trace_but_their_batch_and_resume_exactly(
    mood: str, tmp_path: Path, nursery: Nursery
) -> None:
    overrides = [*MOODY, f"learners.moody.mood={mood}", "faults.not_finite=drop", "seed=4"]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    train(stumbling_recipe(*overrides), run_dir=alone, progress=False)
    state = final_state(alone)
    updates = state["training"]["counters"]["updates"]
    assert state["own"]["faults"]["drops"] == len(range(3, updates, 5)) >= 3
    assert {path.name for path in (alone / "faults").iterdir()} == {f"batch-{n}-0.npz" for n in range(3, updates, 5)}
    steps = [entry["step"] for entry in state["training"]["optimizers"][-1]["state"].values()]
    assert {int(step) for step in steps} == {updates - state["own"]["faults"]["drops"]}
    assert finite(alone)
    assert all("nan" not in row["moody/scale"] for row in rows_of(alone) if row.get("moody/scale"))
    assert nursery.run("deeds:train_and_die", run=killed, overrides=overrides, ticks=45).code == -9
    assert nursery.run("deeds:resume", run=killed).answer == "completed"
    assert differences(state, final_state(killed)) == []
    assert rows_of(alone) == rows_of(killed)


def test_after_as_many_drops_as_allowed_the_run_stops(tmp_path: Path) -> None:
    recipe = stumbling_recipe(*MOODY, "faults.not_finite=drop", "faults.max_drops=1")
    with pytest.raises(NumericalFault, match=r"at update 8; .* happened 1 times before, and faults.max_drops is 1"):
        train(recipe, run_dir=tmp_path / "run", progress=False)


class Poison(Callback):
    def __init__(self, change: Any, ticks: int) -> None:
        self.change, self.ticks = change, ticks

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == self.ticks:
            with torch.no_grad():
                self.change(module)


def a_weight(module: Any) -> None:
    next(module.agent.dynamics.parameters()).view(-1)[-1] = float("inf")


def a_statistic(module: Any) -> None:
    next(iter(module.agent.normalizers.buffers())).fill_(float("nan"))


@pytest.mark.parametrize(
    ("change", "words"), [(a_weight, r"agent\.dynamics\.\S+ holds inf"), (a_statistic, r"normalizers\S* holds nan")]
)
def test_whatever_was_poisoned_is_never_saved(change: Any, words: str, tmp_path: Path) -> None:
    idle = ["stages.1.learners=[]", "stages.1.ratio=null", "stages.1.collect.policy=random"]
    recipe = stumbling_recipe(*idle, "checkpoints.ticks=5", "evaluation.every=null")
    with pytest.raises(NumericalFault, match=f"{words}: such numbers are never saved"):
        train(recipe, run_dir=tmp_path / "run", callbacks=[Poison(change, 27)], progress=False)
    assert checkpoint_of(tmp_path / "run").counters["ticks"] == 25
    assert finite(tmp_path / "run")
    assert read_status(tmp_path / "run")["status"] == "failed"


def test_the_state_of_an_optimizer_is_looked_at_too() -> None:
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    require_finite(module, [optimizer])
    optimizer.state[module.bias]["exp_avg"][0] = float("nan")
    with pytest.raises(NumericalFault, match=r"bias \(exp_avg of its optimizer\) holds nan"):
        require_finite(module, [optimizer])


def test_what_a_learner_meets_that_plays_on_its_own_is_written_down_too(tmp_path: Path) -> None:
    options = ["env=stumbling", "env.fault=not_a_number", "env.every=1"]
    recipe = prepare(
        HERE / "climb.yaml", [*NO_ENV, *options], plugins=load_plugins(files=[CLIMB, HERE / "stumbling_plugin.py"])
    )
    with pytest.raises(EnvironmentFault, match=r"environment 0, episode 0, step 4, .*; the values are in .*npz"):
        train(recipe, run_dir=tmp_path / "run", progress=False)
    (path,) = (tmp_path / "run" / "faults").iterdir()
    assert str(path) in read_status(tmp_path / "run")["reason"]


def test_infinity_may_be_how_a_buffer_says_nothing_yet() -> None:
    module = torch.nn.Linear(1, 1)
    module.register_buffer("best", torch.tensor(-float("inf")))
    require_finite(module, [])


def test_actions_that_are_not_finite_are_written_down_with_what_was_seen(tmp_path: Path) -> None:
    from reverie.testing.environments import FaultyFactory
    from reverie.training.environments import VectorEnvironments
    from reverie.training.faults import Tolerance

    environments = VectorEnvironments(FaultyFactory(), 2, tolerance=Tolerance(folder=tmp_path))
    environments.begin()
    with pytest.raises(NumericalFault, match=r"environment 1 the action \[ 0\. nan\].*; the values are in .*npz"):
        environments.step(np.array([[0, 0], [0, np.nan]]))
    (path,) = tmp_path.iterdir()
    with np.load(path, allow_pickle=False) as values:
        assert np.array_equal(values["obs.state"], environments.obs["state"])
        assert np.isnan(values["action"]).sum() == 1
