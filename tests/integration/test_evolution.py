"""A learner without gradients plays real episodes, which count, and is resumed like any other."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from reverie import api
from reverie.contracts import Counters
from reverie.training.rollouts import CountedRollouts

from .conftest import TINY, differences, final_state, rows_of

PLUGIN = Path(__file__).parent / "search_plugin.py"
SMALL = [line for line in TINY if not line.startswith(("stages", "learners", "replay", "decoder", "heads"))]
RECIPE = """
defaults:
  - env: cartpole
  - encoder: auto
  - dynamics: rssm
  - actor: mlp
  - planner: actor
  - learners/climb: climb
  - _self_
stages:
  - {name: evolve, learners: [climb], updates: 2, until: {generations: 7}}
"""


def trained(folder: Path, callbacks: Any = ()) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "climb.yaml").write_text(RECIPE)
    return api.train(folder / "climb.yaml", SMALL, run_dir=folder / "run", plugin_files=[PLUGIN], callbacks=callbacks)


def test_generations_and_their_real_steps_are_counted(tmp_path: Path) -> None:
    result = trained(tmp_path)
    status = json.loads((result.run_dir / "status.json").read_text())
    assert status["status"] == "completed"
    assert status["generations"] == 7
    assert status["updates"] == 0
    assert status["episodes"] == 14
    assert 14 * 8 <= status["env_steps"] <= 14 * 12
    history = final_state(result.run_dir)["module"]["learners.climb._extra_state"]["history"]
    assert len(history) == 7
    assert max(history) == final_state(result.run_dir)["module"]["learners.climb.best"].item()


class Terminate(Callback):
    def __init__(self, ticks: int) -> None:
        self.ticks = ticks

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == self.ticks:
            os.kill(os.getpid(), signal.SIGTERM)


def test_it_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone").run_dir
    stopped = trained(tmp_path / "stopped", [Terminate(2)])
    assert stopped.exit_code == 143
    assert api.resume(stopped.run_dir, plugin_files=[PLUGIN]).status == "completed"
    assert differences(final_state(alone), final_state(stopped.run_dir)) == []
    assert rows_of(alone) == rows_of(stopped.run_dir)


def test_rollouts_play_each_seed_and_count_frames() -> None:
    from reverie.assembly.build import build_environment
    from reverie.evaluation.policies import ConstantPolicy
    from reverie.extension.manager import load_plugins
    from reverie.recipes.prepare import prepare

    recipe = prepare("dreamer", ["env=pendulum", "env.action_repeat=4", "env.time_limit=40"], plugins=load_plugins())
    factory, counters = build_environment(recipe), Counters()
    rollouts = CountedRollouts(factory, counters)
    results = rollouts.rollout(ConstantPolicy(factory.action), [5, 6, 5])
    assert [result.seed for result in results] == [5, 6, 5]
    assert results[0] == results[2] != results[1]
    assert (counters.episodes, counters.agent_steps, counters.env_steps) == (3, 30, 120)
