"""Do mixes of parts from different systems learn? Trains each recipe of `mixes/` on CartPole and judges it beside the
random policy, on the same 20 seeds; appends one JSON line per finished seed.

    python benchmarks/mixes.py                                    # all mixes, seeds that are missing
    python benchmarks/mixes.py --mix cem_on_mdn_rnn --seeds 100
    python benchmarks/mixes.py --report                           # the table in Markdown, from the lines

A mix counts as clearly better where its mean is at least three times that of the random policy. Nothing is changed
from the recipes in `mixes/` but what the list below says. Those over a frozen V take it from a run of `v.yaml` with the
same seed, which is trained first; its steps count, and so do its minutes where it was not there yet (`--keep`). The
last two rows compare a controller that sees z alone with one that sees z and h. Every run has one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning import HERE, REVERIE, SINGLE, children_cpu_seconds, lines, provenance

RECIPES = Path(__file__).parent / "mixes"
LINES = HERE / "mixes.jsonl"
SEEDS = (100, 101)
EPISODES = 20
CLEARLY = 3.0
"""Times the random policy's mean."""


@dataclass(frozen=True)
class V:
    """The run of `v.yaml` that some slots of a mix are taken from."""

    name: str
    slots: tuple[str, ...]
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mix:
    """A recipe of `mixes/`, what it says, and what is given on the command line besides."""

    name: str
    says: str
    recipe: str
    overrides: tuple[str, ...] = ()
    v: V | None = None


_PIXELS = V(
    "v_pixels", ("encoder", "decoder"), ("env=cartpole_pixels", "stages.v.batch_size=32", "stages.v.until.updates=750")
)  # 3,000 random pictures
_OVER_V = "m_and_c_over_frozen_v"
MIXES = (
    Mix("dreamer_on_mdn_rnn", "Dreamer's actor and critic on V and M", "dreamer_on_mdn_rnn"),
    Mix("cem_on_mdn_rnn", "CEM on V and M", "cem_on_mdn_rnn"),
    Mix("evolution_on_rssm", "an evolved linear controller on an RSSM", "evolution_on_rssm"),
    Mix("frozen_v_under_rssm", "Dreamer over a frozen V", "frozen_v_under_rssm", v=V("v", ("encoder",))),
    Mix("sees_z_and_h", "pixels, the same V: C sees z and h", _OVER_V, v=_PIXELS),
    Mix("sees_z", "pixels, the same V: C sees z alone", _OVER_V, ("dynamics.features=z",), v=_PIXELS),
)


def measure(mix: Mix, seed: int, folder: Path) -> dict[str, Any]:
    """Train one seed (and the V that it takes) and judge it; returns its line."""
    before = children_cpu_seconds()
    commands, overrides, steps = [], list(mix.overrides), 0
    if mix.v:
        run = folder / f"{mix.v.name}-{seed}"
        if not completed(run):  # another mix may have left it here
            train("v", seed, run, list(mix.v.overrides))
        commands.append(" ".join(["reverie train benchmarks/mixes/v.yaml", f"seed={seed}", *mix.v.overrides]))
        overrides += [f"{slot}.from_run={run}" for slot in mix.v.slots]
        steps = steps_of(run)
    run = folder / f"{mix.name}-{seed}"
    commands.append(train(mix.recipe, seed, run, overrides))
    cpu = children_cpu_seconds() - before
    found = judged(run)
    return {
        "mix": mix.name,
        "seed": seed,
        "mean": round(found["mean"], 1),
        "std": round(found["std"], 1),
        "random": round(found["random"]["mean"], 1),
        "random_std": round(found["random"]["std"], 1),
        "episodes": EPISODES,
        "mode": found["mode"],
        "env_steps": steps + steps_of(run),
        "cpu_minutes": round(cpu / 60, 2),
        "commands": [command.replace(f"{folder}/", "") for command in commands],
        **provenance(),
    }


def train(recipe: str, seed: int, run: Path, overrides: list[str]) -> str:
    """Returns the command, without its folder and what only concerns the screen."""
    program = ["train", f"{RECIPES / recipe}.yaml", f"seed={seed}", "evaluation.every=null", *overrides]
    options = ["trainer.threads=1", "logging.tensorboard=false", f"run_dir={run}", "--no-progress"]
    subprocess.run([REVERIE, *program, *options], check=True, env=SINGLE, stdout=subprocess.DEVNULL)
    return " ".join(["reverie", *program]).replace(f"{RECIPES.parent.parent}/", "")


def completed(run: Path) -> bool:
    status = run / "status.json"
    return status.exists() and json.loads(status.read_text())["status"] == "completed"


def steps_of(run: Path) -> int:
    return int(json.loads((run / "status.json").read_text())["env_steps"])


def judged(run: Path) -> dict[str, Any]:
    """Whole episodes of the agent, greedy, and of the random policy on the same seeds."""
    program = [REVERIE, "evaluate", str(run), "--episodes", str(EPISODES), "--random", "--json"]
    answer = subprocess.run(program, check=True, env=SINGLE, capture_output=True, text=True)
    return dict(json.loads(answer.stdout))


def report() -> str:
    """The table in Markdown."""
    found = list(lines(LINES))
    out = [
        "| mix | recipe | seeds | steps | CPU minutes | return, mean of 20 episodes (deviation) | random | clearly |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mix in MIXES:
        mine = sorted((line for line in found if line["mix"] == mix.name), key=lambda line: line["seed"])
        if not mine:
            continue
        returns = ", ".join(f"{line['mean']:g} ({line['std']:g})" for line in mine)
        clear = sum(line["mean"] >= CLEARLY * line["random"] for line in mine)
        out.append(
            f"| {mix.says} | `{mix.name}` | {_each(mine, 'seed')} | {mine[0]['env_steps']:,} | "
            f"{_each(mine, 'cpu_minutes')} | {returns} | {_each(mine, 'random')} | {clear} of {len(mine)} |"
        )
    return "\n".join(out)


def _each(mine: list[dict[str, Any]], key: str) -> str:
    return ", ".join(f"{line[key]:g}" for line in mine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mix", choices=[mix.name for mix in MIXES], help="only this one")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs here")
    options = parser.parse_args()
    if options.report:
        print(report())
        return
    for mix in MIXES:
        if options.mix not in (None, mix.name):
            continue
        for seed in options.seeds:
            if any(line["mix"] == mix.name and line["seed"] == seed for line in lines(LINES)):
                continue
            print(f"{mix.name} seed {seed} ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                line = measure(mix, seed, options.keep or Path(folder))
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps({key: value for key, value in line.items() if key != "versions"}), flush=True)


if __name__ == "__main__":
    main()
