"""Where an environment lives: in this process, or in one of its own that may die, hang, and be replaced.

Gymnasium's `AsyncVectorEnv` answers a dead worker with an empty `EOFError`, waits forever for one that sleeps while it
is built, hangs in `close`, and cannot replace one of several. So each environment has a host here, which is asked and
answers, or says in one sentence why it does not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper

from reverie.errors import EnvironmentFault, ReverieError
from reverie.training.checked import CheckedEnv, moment

CLOSE_SECONDS = 1.5
"""What workers get to end by themselves, and then again what they get to obey SIGTERM."""

Maker = Callable[[], CheckedEnv]


class InProcess:
    """An environment in this process. Nothing can be done about one that hangs.

    Args:
        maker: makes it.
        index: its number, for messages.
    """

    process = None

    def __init__(self, maker: Maker, index: int) -> None:
        self._index = index
        self._asked: tuple[str, tuple[Any, ...]] = ("", ())
        self._env = _built(maker, index)

    def ask(self, name: str, *arguments: Any) -> None:
        """Have a method of the environment called; one question at a time."""
        self._asked = name, arguments

    def answer(self) -> Any:
        """What the method returned.

        Raises:
            EnvironmentFault: if it raised.
        """
        name, arguments = self._asked
        return getattr(self._env, name)(*arguments) if name else None

    def close(self) -> None:
        """End the environment. What it raises is a warning: nothing depends on it any more."""
        _close(self._env, self._index)

    kill = close


class InWorker:
    """An environment in a process of its own.

    Args:
        maker: makes it, called in the worker.
        index: its number, for messages.
        timeout: seconds for building it, and for one reset, step or other call.
    """

    def __init__(self, maker: Maker, index: int, timeout: float) -> None:
        self._index, self._timeout = index, timeout
        self._episode, self._step, self._action = -1, 0, None
        self._pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(
            target=_serve,
            args=(CloudpickleWrapper(maker), index, theirs, self._pipe),
            name=f"environment-{index}",
            daemon=True,
        )
        self.process.start()
        theirs.close()
        self._asked("being built")

    def ask(self, name: str, *arguments: Any) -> None:
        """Have a method of the environment called; one question at a time."""
        self._note(name, arguments)
        self._asked(name)
        with suppress(OSError):  # a dead worker is found out when it does not answer
            self._pipe.send((name, arguments))

    def answer(self) -> Any:
        """What the method returned; after construction, None once the environment is there.

        Raises:
            EnvironmentFault: if it raised, the worker died, or `timeout` has passed since it was asked.
        """
        try:
            if not self._pipe.poll(max(0.0, self._deadline - time.monotonic())):
                self.process.kill()  # or its answer would be taken for the next question's
                raise EnvironmentFault(
                    f"{self._moment()}: the worker process gave no answer within {self._timeout:g} s to {self._name}"
                )
            error, value = self._pipe.recv()
        except (EOFError, OSError) as gone:
            raise EnvironmentFault(self._died()) from gone
        if error is None:
            return value
        fault = error if isinstance(error, EnvironmentFault) else EnvironmentFault(f"{self._moment()}: {error}")
        fault.add_note(f"In the worker process:\n{value}")
        raise fault

    def ask_to_close(self) -> None:
        """The first half of `close`, so that several workers can end at the same time."""
        with suppress(OSError):  # it is dead already
            self._pipe.send(("close", ()))

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join(1.0)
        self._pipe.close()

    def close(self) -> None:
        """End the environment and its process."""
        close_all([self])

    def _asked(self, name: str) -> None:
        self._name, self._deadline = name, time.monotonic() + self._timeout

    def _note(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Keep count of where the environment is, for messages when it can no longer be asked."""
        if name == "begin":
            self._episode, self._step, self._action = arguments[1], 0, None
        elif name == "step":
            self._step, self._action = self._step + 1, arguments[0]
        elif name == "restore_state":
            self._episode, self._step = arguments[0]["episode"], len(arguments[0]["actions"])

    def _moment(self) -> str:
        if self._name == "being built":
            return f"environment {self._index}"
        return moment(self._index, self._episode, self._step, self._action)

    def _died(self) -> str:
        self.process.join(1.0)  # the pipe closes a moment before the process is gone
        return f"{self._moment()}: the worker process died (exit code {self.process.exitcode}) during {self._name}"


Host = InProcess | InWorker


def close_all(hosts: Sequence[Host]) -> None:
    """End all environments, and all workers within five seconds, whatever they are doing."""
    workers = [host for host in hosts if isinstance(host, InWorker)]
    for worker in workers:
        worker.ask_to_close()
    for host in hosts:
        if isinstance(host, InProcess):
            host.close()
    _join(workers, CLOSE_SECONDS)
    for worker in workers:
        worker.process.terminate()
    _join(workers, CLOSE_SECONDS)
    for worker in workers:
        worker.kill()


def _join(workers: Sequence[InWorker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))


def _built(maker: Maker, index: int) -> CheckedEnv:
    try:
        return maker()
    except ReverieError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:500]
        raise EnvironmentFault(f"environment {index}: it cannot be built: {type(error).__name__}: {what}") from error


def _close(env: CheckedEnv, index: int) -> None:
    try:
        env.close()
    except Exception as error:  # noqa: BLE001 - whatever an environment does when it is no longer needed
        warnings.warn(f"environment {index}: close raised {type(error).__name__}: {error}", stacklevel=2)


def _serve(maker: Any, index: int, pipe: Connection[Any, Any], parents: Connection[Any, Any]) -> None:
    """What a worker does: build, then answer until it is told to end or nobody is there to ask.

    Every answer is a pair: None and the value, or the exception (its text, where it is not ours) and its traceback.
    """
    _leave_signals_to_the_parent()
    parents.close()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        env = _built(maker.fn, index)
    except ReverieError as error:
        pipe.send((EnvironmentFault(str(error)), traceback.format_exc()))
        return
    pipe.send((None, None))
    with suppress(EOFError, OSError):  # the parent is gone
        while (asked := pipe.recv())[0] != "close":
            name, arguments = asked
            answer: tuple[EnvironmentFault | str | None, Any]
            try:
                answer = None, getattr(env, name)(*arguments)
            except EnvironmentFault as fault:
                answer = fault, traceback.format_exc()
            except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
                answer = f"{name} raised {type(error).__name__}: {error}", traceback.format_exc()
            pipe.send(answer)
    _close(env, index)


def _end_with_the_parent() -> None:
    """A worker whose environment hangs does not notice that nobody waits any more: its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _leave_signals_to_the_parent() -> None:
    """A forked worker inherits handlers that only set the training process's flag: it would never end. It dies of
    SIGTERM and leaves Ctrl-C to its parent."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
