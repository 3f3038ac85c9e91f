"""Runs as single files: `reverie export` packs what another person needs, `reverie import` believes none of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reverie.errors import RunError
from reverie.recipes.locate import LARGEST_FILE, printable, read_document
from reverie.training.checkpoint import Checkpoint, checkpoint_of
from reverie.training.checkpoint.writer import LATEST
from reverie.training.durable import sync_folder, write_durably
from reverie.training.replay.files import chunk_files
from reverie.training.replay.mark import CHUNK_NAME
from reverie.training.run_folder import HELD_OUT, RunFolder
from reverie.training.untrusted import LARGEST_JSON, LARGEST_TABLE

MOST_MEMBERS = 200_000
LARGEST_RATIO = 100
"""Times by which a member may grow when it is unpacked. What `export` writes does not grow at all."""
HARMLESS = 2**20
"""Bytes of a member below which its ratio does not matter."""

_ANY_SIZE = 2**40
_STAGED = ".import-"
_TOP = {"recipe.lock.yaml": LARGEST_FILE, "provenance.json": LARGEST_JSON, "status.json": LARGEST_JSON}
_TABLES = {"metrics/metrics.csv": LARGEST_TABLE, "metrics/evaluations.jsonl": LARGEST_TABLE}
_CHECKPOINT = re.compile(
    r"checkpoints/checkpoint-\d{8}/(manifest\.json|weights\.safetensors|extra\.pt|training\.pt|process-\d{1,4}\.pt)"
)


@dataclass(frozen=True)
class Exported:
    """What an archive holds: its file, the name of the checkpoint in it, and how many files of replay."""

    path: Path
    checkpoint: str
    chunks: int


@dataclass(frozen=True)
class Imported:
    """A run that was unpacked: its folder, its checkpoint, how many files of replay, the one-file plugins it needs."""

    run: Path
    checkpoint: str
    chunks: int
    local_plugins: tuple[str, ...]


def export_run(run: Path, target: Path, *, replay: bool = False) -> Exported:
    """Pack a run with its newest whole checkpoint into a zip file.

    Args:
        run: its folder. It must not be training meanwhile.
        target: a `.zip` file that does not exist.
        replay: take the replay along, without which the run can be used but not resumed.

    Raises:
        RunError: if there is no run or no whole checkpoint, the file exists, or it cannot be written.
    """
    if target.suffix != ".zip":
        raise RunError(f"{target}: a run is exported to a file that ends in .zip")
    if target.exists() or target.is_symlink():
        raise RunError(f"{target} exists already; give another name")
    folder = RunFolder.open(run)
    folder.lock()
    try:
        checkpoint = checkpoint_of(run)
        files = _files_of(run, checkpoint, replay)
        _pack(run, files, checkpoint, target)
    finally:
        folder.unlock()
    return Exported(target, checkpoint.name, sum(name.startswith("replay/") for name in files))


def _files_of(run: Path, checkpoint: Checkpoint, replay: bool) -> list[str]:
    """The known files of a run that are there; logs of others, pictures and videos stay behind."""
    inside = f"checkpoints/{checkpoint.name}"
    names = [*_TOP, *_TABLES, f"{inside}/manifest.json", *(f"{inside}/{name}" for name in checkpoint.manifest["files"])]
    found = [name for name in names if (run / name).is_file()]
    if (run / HELD_OUT).is_dir():
        found += [f"{HELD_OUT}/{path.name}" for path in chunk_files(run / HELD_OUT)]
    if replay and (run / "replay").is_dir():
        found += [f"replay/{path.name}" for path in chunk_files(run / "replay")]
    return found


def _pack(run: Path, files: Sequence[str], checkpoint: Checkpoint, target: Path) -> None:
    staged = target.with_name(f".{target.name}.new")
    try:
        with staged.open("xb") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
                for name in files:
                    archive.write(run / name, name)
                archive.writestr(f"checkpoints/{LATEST}", checkpoint.name + "\n")
            out.flush()
            os.fsync(out.fileno())
        staged.rename(target)
        sync_folder(target.parent)
    except FileExistsError:
        raise RunError(f"{staged} is in the way: another export writes it, or one was stopped; remove it") from None
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise RunError(f"{target} cannot be written: {error.strerror or error}") from error


def import_run(file: Path, run: Path | None = None) -> Imported:
    """Unpack an archive from anybody into a new run folder. Nothing in it is run, and nothing leaves the folder.

    Args:
        file: of `export_run`.
        run: the folder, which must not exist; `runs/<name of the file>` by default.

    Raises:
        RunError: naming the file and the member that is refused; nothing is left behind then.
    """
    target = run or Path("runs") / (re.sub(r"[^A-Za-z0-9_.]+", "-", file.stem).strip("-.") or "run")
    if target.exists() or target.is_symlink():
        raise RunError(f"{target} exists already; nothing is overwritten, give another folder")
    staged: Path | None = None
    try:
        with zipfile.ZipFile(file) as archive:
            members = _checked(archive, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            _refuse_no_room(members, target.parent, file)
            staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=target.parent))
            for member in members:
                _unpack(archive, member, staged, file)
        result = _verified(staged, target, file)
        _place(staged, target)
        return result
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else printable(error, 200)
        raise RunError(f"{file} cannot be imported: {why}") from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)


def _checked(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """All members, after looking at each: a name that a run has, once, of a plain file, of a size that it may have.

    Raises:
        RunError: naming the first that is refused.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise RunError(f"{file} is refused: it has {len(members)} members, more than {MOST_MEMBERS}")
    seen: set[str] = set()
    for member in members:
        fault = _fault(member) or ("it is there twice" if member.filename in seen else "")
        if fault:
            raise RunError(f"{file} is refused: its member {printable(member.filename)!r}: {fault}")
        seen.add(member.filename)
    if sum(member.compress_size for member in members) > file.stat().st_size:
        raise RunError(f"{file} is refused: its members overlap")
    if "recipe.lock.yaml" not in seen:
        raise RunError(f"{file} is refused: it holds no run (no recipe.lock.yaml)")
    return members


def _fault(member: zipfile.ZipInfo) -> str:
    """Why a member is refused, from what the archive says of it; empty if it is not."""
    limit = _limit(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if limit is None or member.orig_filename != member.filename:
        return "no file of a run has this name"
    if kind not in (0, stat.S_IFREG):
        return "it is a link or a special file" if not stat.S_ISDIR(kind) else "it is a folder"
    if member.flag_bits & 0x1:
        return "it is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed in a way that is not read"
    if member.file_size > limit:
        return f"it would have {member.file_size} bytes, more than the {limit} that it may have"
    if member.file_size > HARMLESS and member.file_size > LARGEST_RATIO * member.compress_size:
        return f"it would grow to {member.file_size} bytes out of {member.compress_size}"
    return ""


def _limit(name: str) -> int | None:
    """The bytes that a file of a run may have; None for names that a run does not have."""
    if name in _TOP or name in _TABLES:
        return {**_TOP, **_TABLES}[name]
    if name == f"checkpoints/{LATEST}":
        return 100
    match = _CHECKPOINT.fullmatch(name)
    if match:
        return LARGEST_JSON if match[1] == "manifest.json" else _ANY_SIZE
    return _ANY_SIZE if _is_chunk(name) else None


def _is_chunk(name: str) -> bool:
    folder, _, rest = name.partition("/")
    return folder in ("replay", HELD_OUT) and CHUNK_NAME.fullmatch(rest) is not None


def _refuse_no_room(members: Sequence[zipfile.ZipInfo], folder: Path, file: Path) -> None:
    needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(f"{file} is refused: it needs {needed} bytes, and {folder} has {free} free")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, staged: Path, file: Path) -> None:
    """Write one member; never more bytes than it claims."""
    path = staged.joinpath(*member.filename.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("xb") as out:
        left = member.file_size
        while left and (piece := source.read(min(left, 2**20))):
            out.write(piece)
            left -= len(piece)
        if left or source.read(1):
            raise RunError(f"{file} is refused: its member {member.filename!r} has another size than it claims")
        out.flush()
        os.fsync(out.fileno())


def _verified(staged: Path, target: Path, file: Path) -> Imported:
    """Look into what was unpacked: a readable recipe, a whole checkpoint, replay that is what its names say.

    Raises:
        RunError: naming the member that is not.
    """
    document = read_document(staged / "recipe.lock.yaml")
    if document.problems or not isinstance(document.data.get("lock"), dict):
        what = document.problems[0].what if document.problems else "it is not the locked recipe of a run"
        raise RunError(f"{file} is refused: recipe.lock.yaml: {what}")
    try:
        checkpoint = checkpoint_of(staged)
    except RunError as error:
        raise RunError(f"{file} is refused: {str(error).replace(f'{staged}/', '')}") from error
    chunks = chunk_files(staged / "replay") if (staged / "replay").is_dir() else []
    held = chunk_files(staged / HELD_OUT) if (staged / HELD_OUT).is_dir() else []
    for path in (*chunks, *held):
        with path.open("rb") as content:
            if _digest(content)[:12] != path.stem[-12:]:
                where = f"{path.parent.name}/{path.name}"
                raise RunError(f"{file} is refused: {where} is not what its name says (sha256)")
    for folder in ("metrics", "replay", "videos"):
        (staged / folder).mkdir(exist_ok=True)
    if not (staged / "status.json").is_file():
        write_durably(staged / "status.json", '{"status": "interrupted", "reason": "imported"}\n')
    return Imported(target, checkpoint.name, len(chunks), tuple(_local_plugins(document.data["lock"])))


def _digest(content: IO[bytes]) -> str:
    return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type] # stubs: narrower than open()


def _local_plugins(lock: dict[str, object]) -> list[str]:
    """Names of the one-file plugins that a lock says it needs."""
    listed = lock.get("local_plugins")
    entries = listed if isinstance(listed, list) else []
    return [printable(entry.get("name", "?")) for entry in entries if isinstance(entry, dict)]


def _place(staged: Path, target: Path) -> None:
    for folder in {path.parent for path in staged.rglob("*")}:
        sync_folder(folder)
    staged.chmod(0o755)
    staged.rename(target)
    sync_folder(target.parent)
