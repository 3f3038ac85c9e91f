"""One flag for all signals, in real processes where a process ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from reverie.training.signals import StopFlag


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_a_signal_sets_the_flag_and_the_exit_code(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    flag = StopFlag()
    flag.install()
    try:
        assert not flag()
        assert flag.exit_code == 0
        os.kill(os.getpid(), number)
        assert flag()
        assert flag.exit_code == code
    finally:
        flag.uninstall()
    assert signal.getsignal(number) == before


def test_the_handlers_can_be_taken_back_from_a_library() -> None:
    flag = StopFlag()
    flag.install()
    try:
        signal.signal(signal.SIGTERM, lambda *_: None)
        flag.install()
        os.kill(os.getpid(), signal.SIGTERM)
        assert flag()
    finally:
        flag.uninstall()


def test_outside_the_main_thread_nothing_happens() -> None:
    flag, before = StopFlag(), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=flag.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_ctrl_c_ends_the_process_at_once_after_its_last_words() -> None:
    code = (
        "import os, signal, time; from reverie.training.signals import StopFlag\n"
        "flag = StopFlag(lambda: print('last words', flush=True)); flag.install()\n"
        "os.kill(os.getpid(), signal.SIGINT); print('still here', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(60); print('never')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    assert ended.stdout.split("\n") == ["still here", "last words", ""]
