"""How long does Dreamer take? One gradient step, and one action, beside sheeprl's DreamerV3, in turns, one thread.

    python benchmarks/dreamer_step.py                       # beside sheeprl, in a virtual environment made for it
    python benchmarks/dreamer_step.py --alone               # ours alone, nothing is installed
    python benchmarks/dreamer_step.py --what step --repeats 9
    python benchmarks/dreamer_step.py --against PATH        # beside another checkout of Reverie

`step` is one full update (world model, actor and critic) at the size at which public implementations were compared;
`small` is the same with networks of the size that CPU users train; `act` is one decision, for 1 and for 16
environments; `run` is the shipped recipe: a bare update beside one in a real run. Both sides read the same numbers of
steps, states, bins and starts, and both learn by REINFORCE. CPU milliseconds of processes that have one thread each and
are asked in turns, so that whatever else the machine does falls on both. Peak memory is that of a process that did
nothing but `step`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PINNED = ("sheeprl==0.8.4", "torch==2.13.0", "lightning!=2.6.2,!=2.6.3")
"""What the peer's environment gets: our torch, and no release of lightning that was tampered with."""

LARGE = {"deter": 256, "units": 256, "groups": 32, "classes": 16, "layers": 2, "batch": 16, "length": 64}
SMALL = {"deter": 64, "units": 64, "groups": 8, "classes": 8, "layers": 2, "batch": 16, "length": 32}
SHARED = {"observation": 24, "actions": 6, "bins": 255, "horizon": 15}
SUBJECTS = {
    "step": {**LARGE, **SHARED, "do": "step"},
    "small": {**SMALL, **SHARED, "do": "step"},
    "act1": {**LARGE, **SHARED, "do": "act", "environments": 1},
    "act16": {**LARGE, **SHARED, "do": "act", "environments": 16},
}
PARTS = {"step": ("step",), "small": ("small",), "act": ("act1", "act16"), "run": (), "memory": ()}
AT_ONCE = {"step": 1, "act": 100}
"""Repetitions per turn: a decision is too short for the clock of a busy machine."""


class Side:
    """A process that does what it is asked, one subject at a time."""

    def __init__(self, python: str, script: str, paths: str = "") -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": paths} if paths else {})}
        self.process = subprocess.Popen(
            [python, str(HERE / script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.name = str(self.ask({"do": "name"})["name"])

    def ask(self, subject: Mapping[str, Any]) -> dict[str, Any]:
        """One request, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(subject), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args!r} ended before it answered")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def peer_python(folder: Path) -> str:
    """The python of an environment with sheeprl, made in `folder` if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {', '.join(PINNED)} into {folder} ...", flush=True)
        venv.create(folder, with_pip=True, clear=folder.exists())
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINNED], check=True)
        (folder / "ready").touch()
    return str(python)


def measure(sides: Mapping[str, Side], name: str, repeats: int) -> dict[str, list[float]]:
    """CPU milliseconds of one subject on each side, asked in turns after one turn to warm up."""
    subject = {"name": name, **SUBJECTS[name], "times": AT_ONCE[str(SUBJECTS[name]["do"])]}
    taken: dict[str, list[float]] = {label: [] for label in sides}
    for turn in range(repeats + 1):
        for label, side in sides.items():
            answer = side.ask(subject)
            if turn:
                taken[label].append(float(answer["cpu"]))
    return taken


def report(name: str, taken: Mapping[str, list[float]]) -> None:
    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in SUBJECTS[name].items() if key != "do"))
    for label, times in taken.items():
        print(f"  {label:36} {statistics.median(times):9.2f} ms (best {min(times):.2f}, n = {len(times)})")
    first, *others = taken.values()
    for other in others:
        middle, best = statistics.median(other) / statistics.median(first), min(other) / min(first)
        print(f"  ratio {middle:.2f} (of the best {best:.2f})")


def report_run(ours: Side, recipe: str, env: str) -> None:
    """Updates per CPU second in a real run beside the bare update of the same recipe."""
    found = ours.ask({"do": "run", "recipe": recipe, "env": env})
    bare, real = found["bare"], found["real"]
    print(f"\nrun: {recipe} on {env}")
    print(f"  a bare update {bare:.1f} ms; in a run {real:.1f} ms with {found['steps']:.1f} steps of the environment")
    speeds = f"{1e3 / bare:.1f} and {1e3 / real:.1f} updates per CPU second"
    print(f"  {speeds}: collecting, logging and Lightning add {real / bare - 1:.0%}")


def report_memory(make: Mapping[str, Any]) -> None:
    print("\nmemory: peak of a process after three steps of `step`, MiB (after its imports)")
    for label, new in make.items():
        side = new()
        before = side.ask({"do": "memory"})["mib"]
        side.ask({"name": "step", **SUBJECTS["step"], "times": 3})
        print(f"  {label:36} {side.ask({'do': 'memory'})['mib']:7.0f} ({before:.0f})")
        side.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=PARTS, action="append", help="all of them by default")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--against", type=Path, help="another checkout of Reverie instead of the peer")
    parser.add_argument(
        "--peer", type=Path, default=HERE.parent / ".peers" / "sheeprl", help="folder of its environment"
    )
    parser.add_argument("--recipe", default="dreamer")
    parser.add_argument("--env", default="cartpole")
    parser.add_argument("--json", action="store_true", help="a line of JSON with every time, for the records")
    options = parser.parse_args()
    make: dict[str, Callable[[], Side]] = {"reverie": lambda: Side(sys.executable, "dreamer_ours.py")}
    if options.against:
        paths = os.pathsep.join(str(options.against.resolve() / part) for part in ("framework", "plugins"))
        make["other"] = lambda: Side(sys.executable, "dreamer_ours.py", paths)
    elif not options.alone:
        python = peer_python(options.peer)
        make["peer"] = lambda: Side(python, "dreamer_peer.py")
    sides = {side.name if label != "other" else f"{side.name} (other)": side for label, side in
             ((label, new()) for label, new in make.items())}  # fmt: skip
    for what in options.what or PARTS:
        for name in PARTS[what]:
            taken = measure(sides, name, options.repeats)
            report(name, taken)
            if options.json:
                print(json.dumps({"subject": name, "cpu_ms": taken}))
        if what == "run":
            report_run(next(iter(sides.values())), options.recipe, options.env)
        if what == "memory":
            report_memory(make)
    for side in sides.values():
        side.close()


if __name__ == "__main__":
    main()
