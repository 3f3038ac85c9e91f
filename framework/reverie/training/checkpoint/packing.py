"""State in files that cannot run code: tensors in safetensors, plain containers through weights-only torch files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reverie.training.durable import open_durably
from reverie.training.untrusted import parse_json


def pack(state: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """A state dict as safetensors bytes, and what of it is not a tensor (extra state of modules).

    A tensor that appears under several names (tied weights) is written once; the metadata says which names share it.
    """
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    others: dict[str, Any] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            others[name] = value
            continue
        value = value.detach()
        identity = (value.data_ptr(), tuple(value.shape), value.stride(), value.dtype, value.device)
        if value.numel() and identity in seen:
            aliases[name] = seen[identity]
            continue
        seen[identity] = name
        tensors[name] = value.to("cpu", copy=True).contiguous()
    return save(tensors, metadata={"aliases": json.dumps(aliases)}), others


def merge(tensors: Mapping[str, Tensor], others: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict that `pack` took apart."""
    return {**tensors, **others}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `pack` made, with shared names written out.

    Raises:
        SafetensorError: if the file is not one.
    """
    with safe_open(str(path), framework="pt") as file:
        aliases = parse_json((file.metadata() or {}).get("aliases", "{}"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if not isinstance(aliases, dict):
        raise SafetensorError("the names that share values are not a table")
    for name, target in aliases.items():
        if not isinstance(target, str) or target not in tensors:
            raise SafetensorError(f"'{name}' is said to share its values with '{target}', which is not there")
        tensors[name] = tensors[target]
    return tensors


def write_plain(path: Path, value: Any) -> None:
    """Tensors in plain containers, numbers and strings, durable on disk."""
    with open_durably(path) as file:
        torch.save(value, file)
