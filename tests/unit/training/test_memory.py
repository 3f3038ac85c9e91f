"""The C library is asked to keep freed memory where it listens, and left alone where it does not."""

import platform

import pytest

from reverie.training.memory import keep_freed_memory


def test_glibc_takes_all_three_settings() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("reverie.training.memory.ctypes", None)
    assert keep_freed_memory() is False
