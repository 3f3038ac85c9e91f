"""How long does a decision take? CEM on an RSSM, beside TorchRL's CEMPlanner on the same sizes, in turns, one thread.

    python benchmarks/plan.py                                  # ours alone
    python benchmarks/plan.py --peer /tmp/peer/bin/python      # beside TorchRL (see benchmarks/plan_peer.py)
    python benchmarks/plan.py --profile planet                 # where the time goes

World model: PlaNet's (deterministic state of 200, Gaussian state of 30, 200 units, ELU, no normalisation; a reward head
of two layers), 6 actions. Both sides count the same floating-point operations. CPU seconds are what to compare on a
shared machine: with one thread and nobody else they equal wall-clock seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

SIZES = {"deter": 200, "stoch": 30, "units": 200, "actions": 6}
SETTINGS = {
    "planet": {"horizon": 12, "candidates": 1000, "iterations": 10, "elites": 100},
    "real_time": {"horizon": 8, "candidates": 128, "iterations": 3, "elites": 16},
}
WARM_UP = 2


class Ours:
    """World model and planner as a recipe would have them, with random weights, called as an agent calls them."""

    def __init__(self) -> None:
        import torch

        from reverie.assembly.agent import Agent
        from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec
        from reverie.training.memory import keep_freed_memory
        from reverie_plugins.heads.config import GaussianConfig
        from reverie_plugins.heads.head import GaussianHead
        from reverie_plugins.perception.config import VectorEncoderConfig
        from reverie_plugins.perception.encoder import VectorEncoder
        from reverie_plugins.rssm.config import RSSMConfig
        from reverie_plugins.rssm.dynamics import RSSM
        from reverie_plugins.shooting.cem import CEM
        from reverie_plugins.shooting.config import CEMConfig

        keep_freed_memory()  # as `reverie train`, `evaluate`, `plan` and `play` do
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch = torch
        observation = ObservationSpec({"state": ArraySpec((24,), "float32")})
        action = ActionSpec("continuous", SIZES["actions"])
        encoder = VectorEncoder(VectorEncoderConfig(), observation)
        options: Any = {"norm": "none", "activation": "elu"}
        sizes = {"deter": SIZES["deter"], "hidden": SIZES["units"], "groups": SIZES["stoch"]}
        model = RSSMConfig(latent="gaussian", cell="standard", **sizes, **options)
        dynamics = RSSM(model, encoder.embed_size, action)
        head = GaussianConfig(units=SIZES["units"], layers=2, zero_init=False, **options)
        reward = GaussianHead(head, dynamics.feature_size, action)
        self.planners = {
            name: CEM(CEMConfig(**setting, min_std=0.0), action, None) for name, setting in SETTINGS.items()
        }
        self.agent = Agent(
            observation, action, encoder=encoder, dynamics=dynamics, planner=self.planners["planet"],
            heads={"reward": reward},
        ).eval()  # fmt: skip
        start = dynamics.initial(1)
        noise = {name: torch.randn(value.shape) for name, value in start.tensors().items()}
        self.start = type(start)(**{**start.tensors(), "deter": noise["deter"].tanh(), "stoch": noise["stoch"]})

    def decide(self, name: str) -> dict[str, float]:
        """One decision for one environment, and what it took."""
        from reverie.contracts import Sampling

        sampling = Sampling(generators=[self.torch.Generator().manual_seed(0)])
        planner = self.planners[name]
        wall, cpu = time.perf_counter(), time.process_time()
        with self.torch.inference_mode():
            action, _ = planner.plan(self.start, {}, self.agent.imagination, explore=False, sampling=sampling)
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        assert action.shape == (1, SIZES["actions"])
        return took

    def gflop(self, name: str) -> float:
        """Of one decision. Counted with gradients on, since the counter does not see products that work in place."""
        from torch.utils.flop_counter import FlopCounterMode

        from reverie.contracts import Sampling

        setting = SETTINGS[name]
        plans = self.torch.zeros(1, setting["candidates"], setting["horizon"], SIZES["actions"])
        with FlopCounterMode(display=False) as counter:
            self.agent.imagination.score(self.start, plans, sampling=Sampling(mode="mode"))
        return float(setting["iterations"] * counter.get_total_flops() / 1e9)


class Peer:
    """The other process, asked for one decision at a time."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        script = str(Path(__file__).with_name("plan_peer.py"))
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.name = self._ask(json.dumps({"sizes": SIZES, "settings": SETTINGS}))["name"]

    def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def decide(self, name: str) -> dict[str, float]:
        answer: dict[str, float] = self._ask(name)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(sides: dict[str, Any], name: str, repeats: int) -> dict[str, list[dict[str, float]]]:
    """In turns, so that whatever else the machine does falls on both."""
    for side in sides.values():
        for _ in range(WARM_UP):
            side.decide(name)
    taken: dict[str, list[dict[str, float]]] = {label: [] for label in sides}
    for _ in range(repeats):
        for label, side in sides.items():
            taken[label].append(side.decide(name))
    return taken


def report(name: str, taken: dict[str, list[dict[str, float]]]) -> None:
    setting = SETTINGS[name]
    steps = setting["horizon"] * setting["candidates"] * setting["iterations"]
    chosen = ", ".join(f"{value} {key}" for key, value in setting.items())
    print(f"\n{name}: {chosen} = {steps:,} imagined steps")
    medians = {}
    for label, times in taken.items():
        cpu, wall = (sorted(1e3 * one[kind] for one in times) for kind in ("cpu", "wall"))
        medians[label] = statistics.median(cpu)
        speed = f"{1e3 * steps / medians[label]:,.0f} imagined steps per second"
        print(f"  {label:30} {medians[label]:8.1f} ms CPU per decision (best {cpu[0]:.1f}), {speed}, n = {len(times)}")
        print(f"  {'':30} {statistics.median(wall):8.1f} ms wall clock (best {wall[0]:.1f})")
    if len(medians) == 2:
        ours, peer = medians.values()
        print(f"  ratio {peer / ours:.2f}")


def profile(name: str) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    ours = Ours()
    ours.decide(name)
    with profiler(activities=[ProfilerActivity.CPU]) as found:
        ours.decide(name)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="python of the environment that has torchrl")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--setting", choices=SETTINGS, action="append", help="all of them by default")
    parser.add_argument("--profile", choices=SETTINGS)
    parser.add_argument("--json", action="store_true", help="one line of JSON with every time, for the records")
    options = parser.parse_args()
    if options.profile:
        profile(options.profile)
        return
    ours = Ours()
    sides: dict[str, Any] = {f"reverie, torch {ours.torch.__version__}": ours}
    peer = Peer(options.peer) if options.peer else None
    if peer is not None:
        sides[peer.name] = peer
    for name in options.setting or SETTINGS:
        many = options.repeats if name == "planet" else 4 * options.repeats
        taken = measure(sides, name, many)
        if options.json:
            print(json.dumps({"setting": name, "times": taken}))
        else:
            report(name, taken)
            print(f"  {ours.gflop(name):.1f} GFLOP in our products")
    if peer is not None:
        peer.close()


if __name__ == "__main__":
    main()
