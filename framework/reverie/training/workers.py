"""A process per environment, with the faults of `AsyncVectorEnv` mended: it hangs on dead and sleeping workers."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from reverie.errors import EnvironmentFault, ReverieError

CLOSE_SECONDS = 1.5
"""What workers get to end by themselves, and then again what they get to obey SIGTERM."""


class WorkerVector(AsyncVectorEnv[Any, Any]):
    """Environments in processes of their own. A dead or silent worker is an `EnvironmentFault` within `timeout`.

    Args:
        makers: make one checked environment each, called in the worker.
        timeout: seconds for one reset, step or call.
    """

    def __init__(self, makers: Sequence[Callable[[], Any]], timeout: float) -> None:
        self._timeout = timeout
        self._steps = 0
        self._actions: NDArray[Any] | None = None
        try:
            super().__init__([_Quiet(maker) for maker in makers], copy=False, autoreset_mode=AutoresetMode.DISABLED)
        except (EOFError, OSError) as error:
            raise EnvironmentFault(self._who_died("being built")) from error

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        answer: tuple[Any, dict[str, Any]] = self._answer(
            "reset", lambda: self.reset_async(seed, options), self.reset_wait
        )
        return answer

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._steps += 1
        self._actions = np.asarray(actions)
        answer: tuple[Any, Any, Any, Any, dict[str, Any]] = self._answer(
            "step", lambda: self.step_async(actions), self.step_wait
        )
        return answer

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        answer: tuple[Any, ...] = self._answer(name, lambda: self.call_async(name, *args, **kwargs), self.call_wait)
        return answer

    def _answer(self, what: str, ask: Callable[[], None], wait: Callable[[float], Any]) -> Any:
        try:
            ask()
            return wait(self._timeout)
        except multiprocessing.TimeoutError as error:
            raise EnvironmentFault(self._who_sleeps(what)) from error
        except (EOFError, OSError) as error:
            raise EnvironmentFault(self._who_died(what)) from error

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise the first worker's exception. Gymnasium's own version prints tracebacks as warnings."""
        if all(successes):
            return
        try:
            index, kind, value, trace = self.error_queue.get(timeout=self._timeout)
        except queue.Empty:
            raise EnvironmentFault("a worker failed and did not say why") from None
        if issubclass(kind, ReverieError):
            raise kind(str(value))
        raise EnvironmentFault(f"environment {index}: {kind.__name__}: {value}\n{trace}")

    def _who_sleeps(self, what: str) -> str:
        silent = [index for index, pipe in enumerate(self.parent_pipes) if pipe is not None and not pipe.poll(0)]
        dead = [index for index, process in enumerate(self.processes) if not process.is_alive()]
        if dead:
            return self._who_died(what)
        names = ", ".join(map(str, silent)) or "unknown"
        return f"environment {names}: no answer within {self._timeout:g} s to {what}{self._moment(silent, what)}"

    def _who_died(self, what: str) -> str:
        processes = getattr(self, "processes", [])
        deadline = time.monotonic() + 1
        while all(process.is_alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(0.01)  # the pipe closes a moment before the process is gone
        dead = [index for index, process in enumerate(processes) if not process.is_alive()]
        codes = ", ".join(f"{index} (exit code {processes[index].exitcode})" for index in dead) or "unknown"
        return f"environment {codes}: the worker process died during {what}{self._moment(dead, what)}"

    def _moment(self, which: list[int], what: str) -> str:
        if what != "step" or self._actions is None:
            return ""
        actions = "; ".join(np.array2string(self._actions[index], threshold=8) for index in which)
        return f", step {self._steps} of this vector, action {actions}"

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Ask the workers to end, then make them: under five seconds, whatever they are doing."""
        for pipe in self.parent_pipes:
            try:
                if pipe is not None and not pipe.closed:
                    pipe.send(("close", None))
            except OSError:
                continue  # it is dead already
        self._join(CLOSE_SECONDS)
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        self._join(CLOSE_SECONDS)
        for process in self.processes:
            if process.is_alive():
                process.kill()
        self._join(1.0)
        for pipe in self.parent_pipes:
            if pipe is not None:
                pipe.close()
        self.error_queue.close()
        self.error_queue.cancel_join_thread()

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))


class _Quiet:
    """Makes an environment in a worker that dies of SIGTERM and leaves Ctrl-C to its parent.

    A forked worker inherits the handlers of the training process, which only set a flag: it would never end.
    """

    def __init__(self, maker: Callable[[], Any]) -> None:
        self.maker = maker
        self.parent = os.getpid()

    def __call__(self) -> Any:
        if os.getpid() != self.parent:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for name in ("SIGUSR1", "SIGUSR2"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
        return self.maker()
