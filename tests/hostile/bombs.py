"""Hostile content: pickles that run code, files that grow, headers that lie."""

import io
import json
import os
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import torch


class Touch:
    """Makes the canary appear when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def raw() -> bytes:
    return pickle.dumps({"optimizers": Touch()}, protocol=2)


def zipped(program: bytes, *, deflate: bool = False, twice: bool = False) -> bytes:
    """A file of torch's form around a pickle program."""
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
        if twice:
            archive.writestr("archive/data.pkl", program)
    return out.getvalue()


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def call(module: str, name: str, argument: bytes) -> bytes:
    """A program that calls one name with one argument."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + argument + b"\x85R."


def nested(levels: int) -> bytes:
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


def billion_lists() -> bytes:
    value: list[Any] = [0] * 10
    for _ in range(12):
        value = [value] * 10
    return saved({"optimizers": value})


def inside_itself() -> bytes:
    value: list[Any] = []
    value.append(value)
    return saved(value)


def view_of_one() -> bytes:
    return saved({"optimizers": [torch.zeros(1).expand(2**40)]})


def inflating() -> bytes:
    """A small file with much text in it."""
    text = b"x" * 2**24
    program = b"\x80\x02(" + (b"X" + struct.pack("<I", len(text)) + text) * 4 + b"t."
    return zipped(program, deflate=True)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def npz(change: dict[str, bytes | None], source: bytes, *, deflate: bool = False, twice: str = "") -> bytes:
    """The chunk `source` with some members replaced."""
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(out, "w", kind) as new:
        for name in old.namelist():
            content = change.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
            if name == twice:
                new.writestr(name, old.read(name))
    return out.getvalue()


def npy(array: Any, *, allow: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), allow_pickle=allow)
    return out.getvalue()


def lying_npy(shape: str, dtype: str = "<f4") -> bytes:
    """A header that claims a shape, and four bytes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0\0\0\0"
