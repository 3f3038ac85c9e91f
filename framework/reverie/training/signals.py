"""One flag that says that the run should stop, and why."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_ASKS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopFlag:
    """Set by SIGTERM, SIGUSR1 or the first Ctrl-C; a second Ctrl-C ends the process at once.

    Args:
        last_words: called before a second Ctrl-C ends the process.
    """

    def __init__(self, last_words: Callable[[], None] = lambda: None) -> None:
        self.signum: int | None = None
        self._last_words = last_words
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after the others, 0 if nobody asked."""
        if self.signum is None:
            return 0
        return 130 if self.signum == signal.SIGINT else 143

    @property
    def reason(self) -> str:
        """What was received, for people."""
        return "Ctrl-C" if self.signum == signal.SIGINT else signal.Signals(self.signum or signal.SIGTERM).name

    def install(self) -> None:
        """Listen. Does nothing outside the main thread, where Python allows no handlers; may be called again to take
        the signals back from a library that replaced the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ASKS:
            current = signal.getsignal(number)
            if current != self._receive:
                self._before.setdefault(number, current)
                signal.signal(number, self._receive)

    def uninstall(self) -> None:
        """Put back what was there before the first `install`."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signum == signal.SIGINT:
            self._last_words()
            for child in multiprocessing.active_children():
                child.kill()  # a worker that hangs would outlive us
            os._exit(130)
        self.signum = self.signum or number
