"""Do mixes of parts from different systems learn? Trains each recipe of `mixes/` on CartPole and judges it beside the
random policy, on the same 20 seeds; appends one JSON line per finished seed.

    python benchmarks/mixes.py                                    # all mixes, seeds that are missing
    python benchmarks/mixes.py --mix cem_on_mdn_rnn --seeds 100
    python benchmarks/mixes.py --report                           # the table in Markdown, from the lines

A mix counts as clearly better where its mean is at least three times that of the random policy. Nothing is changed
from the recipes in `mixes/`; one of them takes its V from a run of `v.yaml` with the same seed, which is trained first
and whose steps and minutes count. Every run has one thread.
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
class Mix:
    """A recipe of `mixes/`, and the recipe whose run one of its slots is taken from."""

    recipe: str
    says: str
    taken: tuple[str, str] | None = None


MIXES = (
    Mix("dreamer_on_mdn_rnn", "Dreamer's actor and critic on V and M"),
    Mix("cem_on_mdn_rnn", "CEM on V and M"),
    Mix("evolution_on_rssm", "an evolved linear controller on an RSSM"),
    Mix("frozen_v_under_rssm", "Dreamer over a frozen V", taken=("encoder", "v")),
)


def measure(mix: Mix, seed: int, folder: Path) -> dict[str, Any]:
    """Train one seed (and what it takes a part from) and judge it; returns its line."""
    before = children_cpu_seconds()
    commands, overrides, steps = [], [], 0
    if mix.taken:
        slot, source = mix.taken
        run = folder / f"{source}-{seed}"
        commands.append(train(source, seed, run, []))
        overrides, steps = [f"{slot}.from_run={run}"], steps_of(run)
    run = folder / f"{mix.recipe}-{seed}"
    commands.append(train(mix.recipe, seed, run, overrides))
    cpu = children_cpu_seconds() - before
    found = judged(run)
    return {
        "mix": mix.recipe,
        "seed": seed,
        "mean": round(found["mean"], 1),
        "std": round(found["std"], 1),
        "random": round(found["random"]["mean"], 1),
        "random_std": round(found["random"]["std"], 1),
        "episodes": EPISODES,
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
        mine = sorted((line for line in found if line["mix"] == mix.recipe), key=lambda line: line["seed"])
        if not mine:
            continue
        returns = ", ".join(f"{line['mean']:g} ({line['std']:g})" for line in mine)
        clear = sum(line["mean"] >= CLEARLY * line["random"] for line in mine)
        out.append(
            f"| {mix.says} | `{mix.recipe}` | {_each(mine, 'seed')} | {mine[0]['env_steps']:,} | "
            f"{_each(mine, 'cpu_minutes')} | {returns} | {_each(mine, 'random')} | {clear} of {len(mine)} |"
        )
    return "\n".join(out)


def _each(mine: list[dict[str, Any]], key: str) -> str:
    return ", ".join(f"{line[key]:g}" for line in mine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mix", choices=[mix.recipe for mix in MIXES], help="only this one")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs here")
    options = parser.parse_args()
    if options.report:
        print(report())
        return
    for mix in MIXES:
        if options.mix not in (None, mix.recipe):
            continue
        for seed in options.seeds:
            if any(line["mix"] == mix.recipe and line["seed"] == seed for line in lines(LINES)):
                continue
            print(f"{mix.recipe} seed {seed} ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                line = measure(mix, seed, options.keep or Path(folder))
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps({key: value for key, value in line.items() if key != "versions"}), flush=True)


if __name__ == "__main__":
    main()
