"""What a run does beside learning leaves no trace in it: evaluations, and stopping with a planner's memory in hand."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from reverie import api
from reverie.training.run import train

from .conftest import differences, final_state, rows_of

Make = Callable[..., Any]
WARM = (
    "planner=cem",
    "planner.warm_start=true",
    "planner.horizon=3",
    "planner.candidates=6",
    "planner.elites=2",
    "planner.iterations=2",
    "environments.count=2",
    "evaluation.every=null",
)


def learned(run: Path) -> dict[str, Any]:
    """Weights, optimizers, replay, and what the collector remembers."""
    state = final_state(run)
    own = {name: state["own"][name] for name in ("tick", "collector", "replay", "randomness")}
    return {"module": state["module"], "optimizers": state["training"]["optimizers"], "own": own}


def test_evaluations_leave_the_run_as_it_would_be_without_them(tmp_path: Path, tiny_recipe: Make) -> None:
    """Note 20, and 8: no statistics, no noise and no environment of the run are touched by being judged."""
    judged = train(tiny_recipe("evaluation.every=4"), run_dir=tmp_path / "judged", progress=False).run_dir
    alone = train(tiny_recipe("evaluation.every=null"), run_dir=tmp_path / "alone", progress=False).run_dir
    assert len((judged / "metrics" / "evaluations.jsonl").read_text().splitlines()) > 10
    assert len((alone / "metrics" / "evaluations.jsonl").read_text().splitlines()) == 1
    assert differences(learned(judged), learned(alone)) == []


class Terminate(Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == 19:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_resumes_with_the_planners_memory(tmp_path: Path, tiny_recipe: Make) -> None:
    """Notes 8 and 23: each environment goes on with its own warm start, in the middle of its episode."""
    alone = train(tiny_recipe(*WARM), run_dir=tmp_path / "alone", progress=False).run_dir
    stopped = train(tiny_recipe(*WARM), run_dir=tmp_path / "stopped", callbacks=[Terminate()], progress=False)
    assert stopped.exit_code == 143
    memory = final_state(stopped.run_dir)["own"]["collector"]["memory"]
    assert memory["carry.centre"].shape == (2, 3, 2)
    assert bool((memory["carry.centre"] != 0.5).any())
    assert api.resume(stopped.run_dir).status == "completed"
    assert differences(final_state(alone), final_state(stopped.run_dir)) == []
    assert rows_of(alone) == rows_of(stopped.run_dir)
