"""Checkpoints from strangers: each file is refused by name, and at worst refused."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bombs
import pytest
import torch
from victims import Refused, Victim

from reverie import load
from reverie.errors import RunError
from reverie.training.checkpoint import open_checkpoint
from reverie.training.checkpoint.plain import read_plain
from reverie.training.run_folder import read_status

PROGRAMS: dict[str, tuple[Callable[[], bytes], str]] = {
    "raw pickle": (bombs.raw, "not a zip file"),
    "pickle in a zip": (lambda: bombs.zipped(bombs.raw()), "'posix.system', which is neither"),
    "inflating": (bombs.inflating, "is compressed, which ours never are"),
    "two programs": (lambda: bombs.zipped(bombs.nested(1), twice=True), "is there twice"),
    "large bytearray": (
        lambda: bombs.zipped(bombs.call("__builtin__", "bytearray", b"\x8a\x05" + (10**11).to_bytes(5, "little"))),
        "'__builtin__.bytearray', which is neither",
    ),
    "large tensor": (
        lambda: bombs.zipped(bombs.call("torch", "Tensor", b"\x8a\x05" + (10**11).to_bytes(5, "little"))),
        "'torch.Tensor', which is neither",
    ),
    "attribute of torch": (lambda: bombs.zipped(bombs.call("torch", "load", b"N")), "'torch.load', which is neither"),
    "eval": (lambda: bombs.zipped(bombs.call("builtins", "eval", b"N")), "'builtins.eval', which is neither"),
    "lists of lists": (bombs.billion_lists, "repeat one another"),
    "inside itself": (bombs.inside_itself, "nested deeper than 64 levels"),
    "deep": (lambda: bombs.zipped(bombs.nested(100_000)), "nested deeper than 64 levels"),
    "view of one number": (bombs.view_of_one, "repeat one another"),
    "unknown instruction": (lambda: bombs.zipped(b"\x80\x04\x95."), "not in the form that torch writes"),
    "cut": (lambda: bombs.zipped(b"\x80\x02X" + struct.pack("<I", 2**31) + b"x"), "ends in the middle"),
    "endless": (lambda: bombs.zipped(b"\x80\x02" + b"]" * 100), "not in the form that torch writes"),
    "no program": (lambda: bombs.npz({}, bombs.zipped(b"")).replace(b"data.pkl", b"data.txt"), "not a file of torch"),
    "empty": (lambda: b"", "not a zip file"),
    "text": (lambda: b"os.system('touch canary')", "not a zip file"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_files_of_torch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounded: None) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = PROGRAMS[name]
    Path("x.pt").write_bytes(make())
    with pytest.raises(Exception, match=message):
        read_plain(Path("x.pt"))
    assert not Path("canary").exists()


def test_what_ours_hold_is_read(tmp_path: Path) -> None:
    value = {
        "tensors": [torch.arange(3), torch.zeros(2, 2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bool)],
        "plain": [1, 2**70, -1.5, float("inf"), "text", b"bytes", None, True, (1, (2,))],
        "types": [torch.float32, torch.Size([1, 2]), torch.device("cpu")],
        1: {"a b\nc": torch.nn.Parameter(torch.ones(1)).data},
    }
    torch.save(value, tmp_path / "x.pt")
    found = read_plain(tmp_path / "x.pt")
    assert str(found) == str(value)


@pytest.mark.parametrize("file", ["training.pt", "process-0.pt"])
@pytest.mark.parametrize("make", [bombs.raw, lambda: bombs.zipped(bombs.raw()), bombs.view_of_one])
def test_resume_refuses_pickles(file: str, make: Callable[[], bytes], victim: Victim, refused: Refused) -> None:
    victim.keep_one()
    victim.put(file, make())
    said = refused("resume", str(victim.path), "--no-progress")
    assert f"{file} is refused" in said


@pytest.mark.parametrize("make", [bombs.raw, lambda: bombs.zipped(bombs.raw())])
def test_evaluate_refuses_pickles(make: Callable[[], bytes], victim: Victim, refused: Refused) -> None:
    victim.put("extra.pt", make())
    assert "extra.pt is refused" in refused("evaluate", str(victim.path))
    with pytest.raises(RunError, match=r"extra\.pt is refused"):
        load(victim.path)


def cut_off(state: dict[str, Any]) -> Any:
    return [state]


def worded(state: dict[str, Any]) -> Any:
    return {**state, "counters": dict.fromkeys(state["counters"], "\x1b[2J many")}


def foreign(state: dict[str, Any]) -> Any:
    return {**state, "counters": {"__class__": 1}}


def nowhere(state: dict[str, Any]) -> Any:
    return {**state, "cursor": {**state["cursor"], "index": 10**9}}


@pytest.mark.parametrize("change", [cut_off, worded, foreign, nowhere])
def test_wrong_types_in_training_state(change: Any, victim: Victim, refused: Refused) -> None:
    victim.keep_one()
    victim.save("training.pt", change(victim.load("training.pt")))
    said = refused("resume", str(victim.path), "--no-progress")
    assert victim.checkpoint.name in said
    assert "does not hold" in said or "do not fit this run" in said


HEADERS: dict[str, bytes] = {
    "length beyond the file": bombs.safetensors(b"{}", length=2**62),
    "length of a gigabyte": bombs.safetensors(b"{}", length=2**30),
    "shape beyond the data": bombs.safetensors({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "shape that overflows": bombs.safetensors({"x": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 4]}}),
    "offsets backwards": bombs.safetensors({"x": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, b"1234"),
    "negative shape": bombs.safetensors({"x": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, b"1"),
    "header is no JSON": bombs.safetensors(b"\x80\x02cos\nsystem\n"),
    "deep header": bombs.safetensors(b"[" * 100_000),
    "deep names": bombs.safetensors({"__metadata__": {"aliases": "[" * 100_000}}),
    "names in a list": bombs.safetensors({"__metadata__": {"aliases": "[1]"}}),
    "names of lists": bombs.safetensors({"__metadata__": {"aliases": '{"a": ["b"]}'}}),
    "pickle": bombs.raw(),
    "empty": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_lying_headers_of_weights(name: str, victim: Victim, bounded: None) -> None:
    victim.put("weights.safetensors", HEADERS[name])
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be read"):
        open_checkpoint(victim.checkpoint).module_state()


def test_evaluate_refuses_lying_weights(victim: Victim, refused: Refused) -> None:
    victim.put("weights.safetensors", HEADERS["shape beyond the data"])
    assert "weights.safetensors cannot be read" in refused("evaluate", str(victim.path))


def test_weights_of_another_agent(victim: Victim, refused: Refused) -> None:
    victim.put(
        "weights.safetensors", bombs.safetensors({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1")
    )
    assert "has no weights for it" in refused("evaluate", str(victim.path))


MANIFESTS: dict[str, bytes] = {
    "deep": b"[" * 100_000,
    "no object": b"[]",
    "long number": b'{"schema": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"schema": 1, "files": {}, "counters": {"env_steps": NaN}}',
    "words": json.dumps({"schema": 1, "files": {}, "counters": {"env_steps": "\x1b[31m"}}).encode(),
    "leaves the folder": json.dumps(
        {"schema": 1, "counters": {}, "files": {"../../../secret": {"size": 6, "sha256": "0" * 64}}}
    ).encode(),
    "facts are a list": b'{"schema": 1, "counters": {}, "files": {"weights.safetensors": ["size", "sha256"]}}',
    "newer": b'{"schema": 99999, "files": {}, "counters": {}}',
    "binary": bombs.raw(),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(name: str, victim: Victim, refused: Refused) -> None:
    victim.keep_one()
    victim.manifest.write_bytes(MANIFESTS[name])
    said = refused("evaluate", str(victim.path))
    assert victim.checkpoint.name in said


def test_manifest_larger_than_any(victim: Victim, refused: Refused) -> None:
    with victim.manifest.open("r+b") as file:
        file.truncate(2**40)
    assert "more than the" in refused("evaluate", str(victim.path), "--checkpoint", victim.checkpoint.name)


def test_pipes_do_not_hang(victim: Victim, refused: Refused) -> None:
    victim.manifest.unlink()
    os.mkfifo(victim.manifest)
    assert "manifest.json is a special file" in refused("evaluate", str(victim.path))


def test_pointers_and_names_stay_inside(victim: Victim, refused: Refused) -> None:
    Path("secret").mkdir()
    (victim.path / "checkpoints" / "latest").write_text("../../secret\n")
    (victim.path / "provenance.json").write_text("[" * 100_000)
    assert "not the name of a checkpoint" in refused("evaluate", str(victim.path), "--checkpoint", "../../secret")
    load(victim.path)  # neither file is believed


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '"x"', '{"status": NaN}', "9" * 10_000])
def test_status_files_that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path) == {}


LINKS = {
    "metrics/metrics.csv": "evaluate",
    "metrics/evaluations.jsonl": "curve",
    ".status.json.new": "resume",
    "checkpoints/.staging": "resume",
    "videos/dream.mp4": "dream",
    "curve.png": "curve",
}


@pytest.mark.parametrize("place", LINKS)
def test_links_lead_nowhere(place: str, victim: Victim, refused: Refused) -> None:
    """Through a link that dangles, an append would make the canary; through a folder, a save would."""
    (victim.path / place).unlink(missing_ok=True)
    (victim.path / place).symlink_to(Path.cwd() / "canary")
    assert f"{place} is a link" in refused(LINKS[place], str(victim.path))
