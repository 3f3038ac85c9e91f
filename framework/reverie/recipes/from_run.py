"""A slot taken from a finished run: its component and options come from the run's lock file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie.errors import Problem
from reverie.recipes.locate import printable, read_document
from reverie.recipes.slots import RESERVED, key_of, look, slots_in

LOCK_FILE = "recipe.lock.yaml"


@dataclass(frozen=True)
class Taken:
    """What a run's lock says about a slot, and how that run prepares vectors (None where it does not say)."""

    name: str
    options: dict[str, Any]
    vectors: str | None


def take(slot: str, run: str, where: str) -> Taken | Problem:
    """The component and options that run folder `run` has in a slot; its weights are copied when the agent is built."""
    key = f"{slot.replace('/', '.')}.from_run"
    lock = Path(run) / LOCK_FILE
    try:
        found = lock.is_file()
    except (OSError, ValueError):  # a null byte, a name too long
        found = False
    if not found:
        what = f"{slot}: {printable(run, 200)!r} is not a run folder"
        why = f"there is no {LOCK_FILE} in it"
        return Problem(what, where, key, why, "give the folder of a run, as `reverie train` prints it")
    document = read_document(lock)
    if not document.readable or document.problems:
        reasons = "; ".join(problem.what for problem in document.problems)
        return Problem(f"{slot}: the lock file of {printable(run, 200)!r} cannot be used", where, key, reasons)
    there, body = look(document.data, key_of(slot))
    if not there or not isinstance(body, dict) or not isinstance(body.get("name"), str):
        slots = ", ".join(name for name, value in slots_in(document.data) if isinstance(value, dict))
        return Problem(
            f"{slot}: the run {printable(run, 200)!r} has nothing there", where, key, "", f"its slots: {slots}"
        )
    vectors = look(document.data, ("observations", "vectors"))[1]
    options = {name: value for name, value in body.items() if name not in RESERVED}
    return Taken(body["name"], options, printable(vectors, 40) if isinstance(vectors, str) else None)
