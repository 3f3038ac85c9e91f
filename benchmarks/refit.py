"""How well could its world model have been learned? Fits a fresh one to the replay of a finished run, and judges it on
episodes of that run's policy.

    python benchmarks/refit.py runs/mine --updates 4000
    python benchmarks/refit.py runs/mine dynamics.layers=2 learners.model.average=0.02

The data and the episodes stay the same whatever the model is, and a minute shows what a run of ten would hide behind
its policy's ups and downs. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreamer_ours import Stepper

from reverie.contracts import Batch
from reverie.evaluation.judged import judge_recorded
from reverie.evaluation.recording import record
from reverie.evaluation.reopen import Opened, reopen
from reverie.evaluation.world_model.applicable import NotApplicable
from reverie.recipes.from_run import LOCK_FILE
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training.memory import keep_freed_memory
from reverie.training.replay import Replay, ReplayMark

EPISODES, FIRST_SEED = 10, 1_000_000
HORIZONS = (1, 5, 15)


class Refit(Stepper):
    """Updates of a fresh world model on the replay of a finished run.

    Args:
        opened: the run.
        recipe: of the fresh agent.
        seed: of its weights, of the batches and of all noise.
    """

    def __init__(self, opened: Opened, recipe: Recipe, seed: int) -> None:
        known, settings = opened.agent, recipe.settings.replay
        mark = ReplayMark.from_dict(opened.checkpoint.plain("process-0.pt")["replay"])
        self.replay = Replay(opened.run / "replay", known.observation, known.action, mark.streams, settings)
        self.replay.restore(mark)
        self.rng = np.random.default_rng(seed)
        super().__init__(recipe, known.observation, known.action, seed=seed)
        self.names = [name for name, learner in self.learners.items() if "dynamics" in learner.config.trains]

    def next_batch(self) -> Batch:
        """Chunks of the run's experience."""
        size, length = self.shape
        return self.replay.sample(size, length, self.rng)


def errors(agent: Any, recordings: Sequence[Any]) -> str:
    """Open-loop errors and, in brackets, the better baseline."""
    agent.eval()
    found = judge_recorded(agent, recordings, [], own=True).observations
    agent.train()
    if isinstance(found, NotApplicable):
        return str(found)
    rows = {h: found.overall.at(h) for h in HORIZONS}
    return ", ".join(
        f"{h}: {row}"
        if isinstance(row, NotApplicable)
        else f"{h}: {row.model:.3f} ({min(row.copy_last, row.mean):.3f})"
        for h, row in rows.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run, with its replay")
    parser.add_argument("overrides", nargs="*", help="of its recipe, for the fresh model")
    parser.add_argument("--updates", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    opened = reopen(args.run)
    recordings = record(opened.policy, opened.factory, range(FIRST_SEED, FIRST_SEED + EPISODES))
    refit = Refit(opened, prepare(str(args.run / LOCK_FILE), args.overrides), args.seed)
    began = time.process_time()
    for done in range(1, args.updates + 1):
        refit()
        if done * 4 % args.updates == 0:
            print(f"{done} updates, {time.process_time() - began:.0f} s: {errors(refit.agent, recordings)}", flush=True)


if __name__ == "__main__":
    main()
