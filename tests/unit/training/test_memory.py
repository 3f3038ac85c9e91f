"""The C library is asked to keep freed memory where it listens, and left alone where it does not."""

import platform
from pathlib import Path

import pytest

from reverie.cli.main import run
from reverie.training.memory import keep_freed_memory


def test_glibc_takes_all_three_settings() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("reverie.training.memory.ctypes", None)
    assert keep_freed_memory() is False


@pytest.mark.parametrize("command", ["evaluate", "plan", "play"])
def test_commands_that_decide_ask_for_it_before_they_open_the_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("reverie.training.memory.keep_freed_memory", lambda: asked.append(True))
    assert run([command, str(tmp_path / "nothing")]) == 2
    assert asked == [True]
