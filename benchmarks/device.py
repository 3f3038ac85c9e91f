"""What does a GPU bring? Updates and decisions per second of Dreamer on the CPU and then on a GPU, in one process.

    python benchmarks/device.py                        # on a machine with a GPU
    python benchmarks/device.py --what vectors --cpu   # without one
    python benchmarks/device.py --json                 # lines for the records

`vectors` is the recipe `dreamer` as it comes (size xs) on pendulum, `pixels` the same on cartpole_pixels, `large` the
size at which public implementations were compared (deter 256, 32 x 16 states, units 256, batch 16 x 64), `huge` the
code's own size of 12 million weights (`dreamer_current size=v3_12m`) on 64 x 64 pictures. An update is a whole one:
world model, actor and critic, on a batch that is brought to the device each time. A decision is one call of the policy
for 1 and for 16 environments. Milliseconds of the clock on the wall, the GPU's work included; medians, the best in
brackets. On the CPU with one thread, and with as many as torch takes by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from dreamer_ours import Stepper, recipe_of
from dreamer_step import LARGE, SHARED

from reverie.assembly.build import build_environment
from reverie.contracts import ActionSpec, ArraySpec, ObservationSpec
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare

PICTURES = ("env=cartpole_pixels", "env.image_size=64", "size=v3_12m")
SHIPPED = {"vectors": ("dreamer", ("env=pendulum",)), "pixels": ("dreamer", ("env=cartpole_pixels",)),
           "huge": ("dreamer_current", PICTURES)}  # fmt: skip
SUBJECTS = ("vectors", "large", "pixels", "huge")
ONE_THREAD = "cpu, 1 thread"
BRIEFLY = 0.15
"""Share of the seconds of a subject that decisions get, for either number of environments."""


def stepper(subject: str, device: str) -> Stepper:
    if subject == "large":
        observation = ObservationSpec({"state": ArraySpec((SHARED["observation"],), "float32")})
        return Stepper(recipe_of({**LARGE, **SHARED}), observation, ActionSpec("discrete", SHARED["actions"]), device)
    name, overrides = SHIPPED[subject]
    recipe = prepare(name, overrides, plugins=load_plugins())
    factory = build_environment(recipe)
    return Stepper(recipe, factory.observation, factory.action, device)


def decider(made: Stepper, environments: int) -> Callable[[], None]:
    """One decision of all environments, memory included."""
    agent = made.agent
    obs = {key: value[:, 0].repeat_interleave(environments, 0)[:environments].numpy()
           for key, value in made.batch.obs.items()}  # fmt: skip
    state = [agent.initial(environments)]
    first = torch.zeros(environments, dtype=torch.bool).numpy()

    def act() -> None:
        _, state[0] = agent.act(obs, state[0], first, explore=True)

    return act


def timed(work: Callable[[], None], seconds: float, device: str) -> list[float]:
    """Milliseconds of single repetitions, after some to warm up: at least five, or two where one takes a second."""

    def once() -> float:
        begin = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - begin)

    slow = once() > 1e3 and device == "cpu"  # a GPU compiles and chooses when it is first asked
    for _ in range(0 if slow else 4):
        once()
    found: list[float] = []
    while len(found) < (2 if slow else 5) or sum(found) < 1e3 * seconds:
        found.append(once())
    return found


def measured(subject: str, places: list[tuple[str, str, int]], seconds: float) -> Iterator[dict[str, Any]]:
    """One line for every place and piece of work."""
    for label, device, threads in places:
        if subject == "huge" and label == ONE_THREAD and len(places) > 1:
            continue  # half a minute for one update
        torch.set_num_threads(threads)
        made = stepper(subject, device)
        works: dict[str, tuple[Callable[[], None], float]] = {"update": (made, seconds)}
        works |= {f"act {n}": (decider(made, n), seconds * BRIEFLY) for n in (1, 16)}
        weights = sum(parameter.numel() for parameter in made.agent.parameters())
        for what, (work, lasting) in works.items():
            taken = timed(work, lasting, device)
            yield {"subject": subject, "weights": weights, "what": what, "where": label,
                   "ms": statistics.median(taken), "best": min(taken), "n": len(taken)}  # fmt: skip


def places(cpu_only: bool) -> list[tuple[str, str, int]]:
    """(label, device, threads)."""
    many = torch.get_num_threads()
    found = [(ONE_THREAD, "cpu", 1)] + ([(f"cpu, {many} threads", "cpu", many)] if many > 1 else [])
    if cpu_only:
        return found
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; --cpu times the CPU alone")
    return [*found, (torch.cuda.get_device_name(0), "cuda", 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=SUBJECTS, action="append", help="all of them by default")
    parser.add_argument("--seconds", type=float, default=4, help="of one subject's updates in one place")
    parser.add_argument("--cpu", action="store_true", help="without a GPU")
    parser.add_argument("--json", action="store_true", help="a line of JSON for every number")
    options = parser.parse_args()
    where = places(options.cpu)
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    for subject in options.what or SUBJECTS:
        first: dict[str, float] = {}
        for line in measured(subject, where, options.seconds):
            base = first.setdefault(line["what"], line["ms"])
            if options.json:
                print(json.dumps(line), flush=True)
                continue
            speed = f"{line['ms']:9.2f} ms ({line['best']:.2f}, n = {line['n']}), {1e3 / line['ms']:.1f} a second"
            print(f"{subject:8} {line['what']:7} {line['where']:24} {speed}, {base / line['ms']:.2f} x", flush=True)


if __name__ == "__main__":
    main()
