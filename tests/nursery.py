"""A process that has imported everything and forks a child for each thing that is to be done to a run.

    python nursery.py          reads requests, one JSON object a line, and answers each with one

A test asks it through `Nursery.run("module:function", argument=...)`; functions lie in modules of `FOLDERS`. Nothing
is learned in the process itself: after a backward pass torch would not let its children make another one.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDERS = [str(HERE / "faults"), str(HERE / "docs"), str(HERE)]


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Args:
        code: its exit code; the negative number of a signal that killed it.
        said: all that it printed.
        seconds: how long it lived.
        answer: what the function returned, where it is plain data and came to its end.
    """

    code: int
    said: str
    seconds: float
    answer: Any = None


class Nursery:
    """The other end of the pipe."""

    def __enter__(self) -> "Nursery":
        self._asked = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # taking torch down in an orderly way would take seconds
        self._process.communicate()

    def run(
        self,
        function: str,
        *,
        kill_after: float | None = None,
        signal_number: int = signal.SIGKILL,
        timeout: float = 120,
        **arguments: Any,
    ) -> Outcome:
        """Call a function in a child.

        Args:
            function: `module:function`; what it returns is its answer, and an integer its exit code too.
            kill_after: seconds after which the child gets a signal.
            timeout: seconds after which it is killed in any case, which is an error.
            arguments: of the function, plain data or paths.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked += 1
        request = {
            "id": self._asked,
            "function": function,
            "kill_after": kill_after,
            "signal": int(signal_number),
            "timeout": timeout,
        }
        self._process.stdin.write(json.dumps({**request, "arguments": arguments}, default=str) + "\n")
        self._process.stdin.flush()
        while (answer := json.loads(self._process.stdout.readline())).pop("id") != self._asked:
            continue  # the answer to a question whose test ran out of time
        return Outcome(**answer)


def main() -> None:
    sys.path[:0] = [folder for folder in FOLDERS if folder not in sys.path]
    import deeds  # noqa: F401 - all of these once, before the forks
    import families
    import pytorch_lightning  # noqa: F401

    import reverie.evaluation.judged
    import reverie.training.data
    import reverie.training.keeper
    import reverie.training.module
    import reverie.training.run  # noqa: F401
    import tiny_runs  # noqa: F401

    for name in ("categorical states, discrete actions", "no gradients"):  # Hydra, the plugins, their components
        for choice in families.FAMILIES[name].prepared().choices.values():
            choice.component.load()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **serve(request)}), flush=True)


def serve(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _live(request, said.fileno(), answer.fileno())
        if request["kill_after"] is not None:
            time.sleep(request["kill_after"])
            with suppress(ProcessLookupError):
                os.kill(child, request["signal"])
        code = _wait(child, began + request["timeout"])
        seconds = time.monotonic() - began
        for file in (said, answer):
            file.seek(0)
        returned = json.loads(answer.read() or "null")
        return {"code": code, "said": said.read().decode(), "seconds": seconds, "answer": returned}


def _live(request: dict[str, Any], said: int, answer: int) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        module, _, name = request["function"].partition(":")
        found = getattr(importlib.import_module(module), name)(**request["arguments"])
        os.write(answer, json.dumps(found).encode())
        code = found if isinstance(found, int) and not isinstance(found, bool) else 0
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, deadline: float) -> int:
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


if __name__ == "__main__":
    main()
