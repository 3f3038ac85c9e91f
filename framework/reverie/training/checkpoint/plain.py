"""Weights-only torch files, opened only if nothing in them could grow beyond the file or be anything but plain data.

`torch.load(weights_only=True)` runs no code, but it inflates compressed members, and a few of the classes that it
allows make large objects out of small files. Both are refused before it is called, and what it gives back is measured.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

DEEPEST = 64
"""Levels of containers; ours have about ten."""

_CONTAINERS = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.serialization", "_get_layout"),
    ("_codecs", "encode"),  # how bytes are written
}
_FIXED = {
    b"R": 0, b"\x81": 0, b"b": 0, b"a": 0, b"e": 0, b"s": 0, b"u": 0, b"(": 0, b"t": 0, b"\x85": 0, b"\x86": 0,
    b"\x87": 0, b"N": 0, b"\x88": 0, b"\x89": 0, b")": 0, b"]": 0, b"}": 0, b"Q": 0, b"J": 4, b"K": 1, b"M": 2,
    b"G": 8, b"h": 1, b"j": 4, b"q": 1, b"r": 4, b"\x80": 1,
}  # fmt: skip
"""Instructions of the container format that torch writes, with the bytes that follow each."""
_COUNTED = {b"X": "<I", b"U": "<B", b"\x8a": "<B"}
"""Instructions followed by a length of this form and as many bytes: text, bytes and large integers."""


def read_plain(path: Path) -> Any:
    """What `write_plain` wrote: tensors in plain containers, numbers and text. Memory stays within a few sizes of the
    file.

    Raises:
        ValueError, zipfile.BadZipFile: for a file that is not one, or would become more than it is.
        RuntimeError, pickle.UnpicklingError: for what torch itself refuses.
    """
    with zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        refuse_growth(archive.infolist(), size)
        programs = [member for member in archive.infolist() if member.filename.endswith("data.pkl")]
        if len(programs) != 1:
            raise ValueError("it is not a file of torch")
        with archive.open(programs[0]) as file:
            _check_names(file)
    value = torch.load(path, weights_only=True, map_location="cpu")
    _measure(value, size)
    return value


def refuse_growth(members: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Members as torch and NumPy write them: stored as they are, each name once, together no larger than the file.

    Raises:
        ValueError: for anything else.
    """
    seen: set[str] = set()
    total = 0
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"its member {member.filename[:60]!r} is compressed, which ours never are")
        if member.filename in seen:
            raise ValueError(f"its member {member.filename[:60]!r} is there twice")
        seen.add(member.filename)
        total += member.file_size
    if total > size:
        raise ValueError(f"its members claim {total} bytes, but the file has {size}")


def _check_names(file: IO[bytes]) -> None:
    """Walk over the instructions without following them, and look at every name that they would look up.

    Raises:
        ValueError: for other names than those of tensors and containers, and for other instructions than torch's.
    """
    while (code := file.read(1)) != b".":
        if code == b"c":
            module, name = (file.readline(200).rstrip(b"\n").decode("utf-8") for _ in range(2))
            if (module, name) not in _CONTAINERS and not _of_torch(module, name):
                named = f"{module}.{name}"[:80]
                raise ValueError(f"it names {named!r}, which is neither a tensor nor a plain container")
        elif code in _COUNTED:
            form = _COUNTED[code]
            (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
            if len(file.read(length)) != length:
                raise ValueError("it ends in the middle of a value")
        elif code in _FIXED:
            file.read(_FIXED[code])
        else:
            raise ValueError("it is not in the form that torch writes")


def _of_torch(module: str, name: str) -> bool:
    """Whether a name is the one of a dtype or a storage."""
    if module == "torch.storage":
        return name == "UntypedStorage"
    return module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype))


def _measure(value: Any, size: int) -> None:
    """Refuse values that are more than their file: a value written once and repeated by reference, tensors that are
    views of a few bytes, containers inside themselves.

    Raises:
        ValueError: naming what was found.
    """
    values = elements = 0
    waiting = [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        values += 1
        if depth > DEEPEST:
            raise ValueError(f"its values are nested deeper than {DEEPEST} levels")
        if isinstance(found, Tensor):
            elements += found.numel() * found.element_size()
        elif isinstance(found, dict):
            waiting += [(part, depth + 1) for pair in found.items() for part in pair]
        elif isinstance(found, list | tuple):
            waiting += [(part, depth + 1) for part in found]
        elif not (found is None or isinstance(found, _SCALARS)):
            raise ValueError(f"it holds a {type(found).__name__}, which is neither a tensor nor plain data")
        if values > size or elements > 4 * size:
            raise ValueError("its values repeat one another and would become much larger than the file")


_SCALARS = (bool, int, float, str, bytes, torch.dtype, torch.device)
