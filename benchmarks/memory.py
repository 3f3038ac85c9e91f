"""How much memory V and M take over a million pictures: 1,000 made-up rollouts of 1,000 frames of 64 x 64 x 3 go into
the replay of a run of `world_models_paper`, which then trains V and M on them at the paper's sizes.

    python benchmarks/memory.py                     # 12.3 GB of disk, which are freed again
    python benchmarks/memory.py --rollouts 20       # a small try

Prints one JSON line: the peak of the process (its resident set, in MiB) when all frames are on disk, after V and after
M, what the replay itself holds, how often it has read a file, and CPU seconds per update.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback

from reverie import api
from reverie.training.rows import Rows

LENGTH, SIDE = 1_000, 64
MIB = 2**20
RECIPE = """# V and M of World Models at the paper's sizes, over pictures that somebody else puts into the replay.
defaults:
  - world_models_paper
  - override actor: null
  - override planner: random_shooting
  - override learners/c: null
  - _self_
env: {{time_limit: 5}}
planner: {{horizon: 2, candidates: 4}}
stages:
  - {{name: random, collect: {{policy: random}}, until: {{agent_steps: 5}}}}
  - {{name: v, learners: [v], batch_size: 100, length: 1, until: {{updates: {v}}}}}
  - {{name: m, learners: [m], batch_size: 8, length: 500, until: {{updates: {m}}}}}
evaluation: {{every: null, episodes: 1}}
logging: {{tensorboard: false}}
trainer: {{threads: 1}}
"""


class Watch(Callback):
    """Fills the replay before the first stage, and notes the peak when V and when M has had its updates."""

    def __init__(self, rollouts: int, updates: dict[str, int]) -> None:
        self.rollouts, self.updates = rollouts, updates
        self.found: dict[str, Any] = {}
        self._left, self._since = list(updates), 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        replay, actions = trainer.datamodule.replay, trainer.datamodule.factory.action.size
        frames = np.random.default_rng(0).integers(256, size=(LENGTH, SIDE, SIDE, 3), dtype=np.uint8)
        for number in range(self.rollouts):
            replay.add(0, rollout(np.roll(frames, number, 0), actions))
        size = sum(path.stat().st_size for path in replay.folder.iterdir())
        self.found |= {"frames": replay.steps, "disk_gb": round(size / 1e9, 2)}
        self._note("filled", replay)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if not self._left or module.counters.updates != self._until(self._left[0]):
            return
        name = self._left.pop(0)
        seconds = time.process_time() - self._since
        self._note(name, trainer.datamodule.replay)
        self.found[name]["cpu_seconds_per_update"] = round(seconds / self.updates[name], 2)

    def _until(self, name: str) -> int:
        """The number of updates at which this stage ends."""
        names = list(self.updates)
        return sum(self.updates[one] for one in names[: names.index(name) + 1])

    def _note(self, name: str, replay: Any) -> None:
        self.found[name] = {
            "peak_mib": peak_mib(),
            "replay_mib": round(replay.memory_bytes / MIB),
            "files_read": replay.disk_loads,
        }
        self._since = time.process_time()


def rollout(frames: np.ndarray, actions: int) -> Rows:
    """One episode, ended by its limit."""
    first, last = np.zeros(LENGTH, bool), np.zeros(LENGTH, bool)
    first[0] = last[-1] = True
    steps = np.arange(LENGTH, dtype=np.float32)
    return Rows(
        obs={"image": frames},
        action=np.sin(steps)[:, None].repeat(actions, 1) * ~first[:, None],
        reward=np.cos(steps) * ~first,
        is_first=first,
        is_terminal=np.zeros(LENGTH, bool),
        is_last=last,
    )


def peak_mib() -> int:
    """The largest resident set of this process so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (MIB if sys.platform == "darwin" else 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1_000)
    parser.add_argument("--updates", type=int, nargs=2, default=(20, 3), metavar=("V", "M"))
    parser.add_argument("--folder", type=Path, help="on the disk that takes the frames; a temporary one by default")
    options = parser.parse_args()
    watch = Watch(options.rollouts, dict(zip(("v", "m"), options.updates, strict=True)))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        recipe = Path(folder) / "frames.yaml"
        recipe.write_text(RECIPE.format(**watch.updates))
        result = api.train(recipe, ["env=car_racing"], run_dir=Path(folder) / "run", callbacks=[watch])
    print(json.dumps({"status": result.status, **watch.found, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
