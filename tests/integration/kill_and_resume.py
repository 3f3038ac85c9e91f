"""Kills tiny runs with SIGKILL at random moments, resumes them, and compares them with one that was left alone.

A process of its own: it imports everything once and forks a child for each run, so that a kill costs little.

    python kill_and_resume.py FOLDER KILLS SEED [OVERRIDE ...]

Prints a JSON list: for each kill the moment, how far the run was, and the places in which the two runs differ.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pytorch_lightning  # noqa: F401 - imported once, before the forks

import reverie.training.data
import reverie.training.keeper
import reverie.training.module  # noqa: F401
from conftest import TINY, differences, final_state, rows_of
from reverie.extension.manager import load_plugins
from reverie.recipes.prepare import prepare
from reverie.training.run import resume, train
from reverie.training.run_folder import read_status


def forked(function: Callable[[], Any]) -> int:
    """The id of a child that runs `function` and ends."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        function()
        code = 0
    except BaseException as error:  # noqa: BLE001 - the child ends here, whatever it was
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path, kills: int, seed: int, overrides: list[str]) -> list[dict[str, Any]]:
    recipe = prepare("dreamer", [*TINY, *overrides], plugins=load_plugins())
    alone = folder / "alone"
    began = time.monotonic()
    assert wait(forked(lambda: train(recipe, run_dir=alone, progress=False))) == 0
    lasted = time.monotonic() - began
    expected, lines = final_state(alone), rows_of(alone)
    chance = random.Random(seed)
    results = []
    for number in range(kills):
        run = folder / f"killed-{number}"
        moment = chance.uniform(0.03, 0.8) * lasted
        child = forked(lambda run=run: train(recipe, run_dir=run, progress=False))
        began = time.monotonic()
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        killed = wait(child)
        if killed == 0:  # it had ended: the machine is faster now
            lasted = min(lasted, time.monotonic() - began)
        status = read_status(run)
        again = resume if (run / "recipe.lock.yaml").exists() else (lambda run, progress: train(recipe, run_dir=run))
        code = wait(forked(lambda run=run, again=again: again(run, progress=False)))
        found = differences(expected, final_state(run)) if code == 0 else ["the resumed run failed"]
        if code == 0 and rows_of(run) != lines:
            found.append("the lines of metrics differ")
        results.append(
            {"moment": moment / lasted, "killed": killed, "env_steps": status.get("env_steps"), "differences": found}
        )
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))
