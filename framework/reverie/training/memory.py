"""The C library's habits with memory."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, for the next update; whether the C library is one that listens (glibc).

    An update makes and frees the same tensors every time. By default glibc hands large ones back to the system, which
    clears each page before it gives it out again: a thousand page faults per update of a small Dreamer, 8% of its time.
    Up to 256 MiB more than is in use may stay with the process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 256 * _MIB), (_TOP_PAD, 16 * _MIB))
    return all(mallopt(name, value) == 1 for name, value in settings)
