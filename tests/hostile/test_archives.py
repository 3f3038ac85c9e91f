"""`reverie export` and `reverie import`: what travels, and what is refused."""

import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from victims import Refused, Victim

from reverie import load
from reverie.errors import RunError
from reverie.training.archive import export_run, import_run

Change = Callable[[zipfile.ZipFile], None]


@pytest.fixture
def archive(victim: Victim) -> Path:
    export_run(victim.path, Path("run.zip"))
    return Path("run.zip")


def member(name: str, content: bytes = b"x", **facts: int) -> Change:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        for fact, value in facts.items():
            setattr(info, fact, value)
        archive.writestr(info, content)

    return add


def link(name: str) -> Change:
    return member(name, b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3)


CHUNK = f"replay/stream-00000-000000000000-000004-{'a' * 12}.npz"
STRANGE = "no file of a run has this name"

MEMBERS: dict[str, tuple[Change, str]] = {
    "zip slip": (member("../canary"), STRANGE),
    "slip inside": (member("checkpoints/../../canary"), STRANGE),
    "absolute": (member("/tmp/canary"), STRANGE),
    "drive": (member("C:\\canary"), STRANGE),
    "backslashes": (member("metrics\\..\\..\\canary"), STRANGE),
    "device": (member("CON"), STRANGE),
    "dot": (member("./recipe.lock.yaml"), STRANGE),
    "other case": (member("RECIPE.lock.yaml"), STRANGE),
    "hidden": (member(".lock"), STRANGE),
    "code": (member("plugin.py", b"open('canary', 'w')"), STRANGE),
    "pickle": (member("checkpoints/checkpoint-00000001/policy.pkl"), STRANGE),
    "escape sequence": (member("\x1b[2Kcanary"), STRANGE),
    "folder": (member("replay/", b""), STRANGE),
    "null byte": (member("provenance.jsonZcanary"), STRANGE),
    "symbolic link": (link("metrics/evaluations.jsonl"), "it is a link or a special file"),
    "link as chunk": (link(CHUNK), "it is a link or a special file"),
    "pipe": (
        member(CHUNK, external_attr=(stat.S_IFIFO | 0o666) << 16, create_system=3),
        "it is a link or a special file",
    ),
    "twice": (member("recipe.lock.yaml", b"dynamics: {_target_: os.system}"), "it is there twice"),
    "bomb": (member(CHUNK, bytes(2**24), compress_type=zipfile.ZIP_DEFLATED), "it would grow to 16777216 bytes"),
    "other compression": (member(CHUNK, bytes(100), compress_type=zipfile.ZIP_LZMA), "compressed in a way"),
    "large table": (
        member("status.json", bytes(2**24 + 1), compress_type=zipfile.ZIP_DEFLATED),
        "more than the 16777216",
    ),
    "wrong content": (member(CHUNK, b"something else"), "is not what its name says"),
    "many": (lambda archive: [member(f"x{n}", b"")(archive) for n in range(20)] and None, STRANGE),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members(name: str, archive: Path, refused: Refused) -> None:
    change, message = MEMBERS[name]
    if name == "symbolic link":
        rewrite(archive, "metrics/evaluations.jsonl", None)
    with zipfile.ZipFile(archive, "a") as opened:
        change(opened)
    if name == "null byte":
        archive.write_bytes(archive.read_bytes().replace(b"provenance.jsonZ", b"provenance.json\0"))
    said = refused("import", str(archive), "new")
    assert message in said
    assert "run.zip" in said


def rewrite(archive: Path, name: str, content: bytes | None) -> None:
    """Replace or remove one member."""
    with zipfile.ZipFile(archive) as old:
        kept = {info: old.read(info) for info in old.infolist() if info.filename != name}
    with zipfile.ZipFile(archive, "w") as new:
        for info, data in kept.items():
            new.writestr(info, data)
        if content is not None:
            new.writestr(name, content)


def test_sizes_that_lie(archive: Path, refused: Refused) -> None:
    """The directory says less, or more, than the member holds."""
    content = archive.read_bytes()
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"checkpoints/latest"))
    for claimed in (5, 90):
        lying = content[: at + 24] + struct.pack("<I", claimed) + content[at + 28 :]
        archive.write_bytes(lying)
        assert "run.zip" in refused("import", str(archive), "new")


def test_members_that_overlap(archive: Path, refused: Refused) -> None:
    """Many names for one piece of data: small file, large run."""
    content = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        large = max(opened.infolist(), key=lambda info: info.file_size)
    end = content.rindex(b"PK\x05\x06")
    (at,) = struct.unpack("<I", content[end + 16 : end + 20])
    entries = b""
    for number in range(60):
        name = f"replay/stream-00000-{number:012d}-000004-{'a' * 12}.npz".encode()
        fields = (
            20,
            20,
            0,
            0,
            0,
            33,
            large.CRC,
            large.file_size,
            large.file_size,
            len(name),
            0,
            0,
            0,
            0,
            0o100644 << 16,
        )
        entries += b"PK\x01\x02" + struct.pack("<6H3I5H2I", *fields, large.header_offset) + name
    count = struct.unpack("<H", content[end + 10 : end + 12])[0] + 60
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, end - at + len(entries), at, 0)
    archive.write_bytes(content[:end] + entries + tail)
    assert "its members overlap" in refused("import", str(archive), "new")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("recipe.lock.yaml", None, "it holds no run"),
        ("recipe.lock.yaml", b"dynamics: {_target_: os.system}\n", "'_target_' is refused"),
        ("recipe.lock.yaml", b"defaults: [dreamer]\n", "not the locked recipe of a run"),
        ("weights.safetensors", b"x", "has 1 bytes, its manifest says"),
        ("training.pt", None, "is missing or not a plain file"),
        ("manifest.json", b"[" * 100_000, "not a manifest"),
    ],
)
def test_contents(
    file: str, content: bytes | None, message: str, victim: Victim, archive: Path, refused: Refused
) -> None:
    name = file if file.startswith("recipe") else f"checkpoints/{victim.checkpoint.name}/{file}"
    rewrite(archive, name, content)
    assert message in refused("import", str(archive), "new")


def test_files_that_are_no_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.zip").write_text("PK\x03\x04 not really")
    for file in ("text.zip", "none.zip", "."):
        assert "cannot be imported" in refused("import", file, "new")


def test_only_known_files_travel(victim: Victim) -> None:
    (victim.path / "secret.txt").write_text("mine")
    (victim.path / "videos" / "dream.mp4").write_text("mine")
    made = export_run(victim.path, Path("run.zip"), replay=True)
    names = zipfile.ZipFile("run.zip").namelist()
    inside = f"checkpoints/{victim.checkpoint.name}"
    assert sorted(name for name in names if not name.startswith("replay/")) == sorted(
        ["recipe.lock.yaml", "provenance.json", "status.json", "metrics/metrics.csv", "metrics/evaluations.jsonl"]
        + [f"{inside}/{file}" for file in ("manifest.json", "weights.safetensors", "extra.pt", "training.pt")]
        + [f"{inside}/process-0.pt", "checkpoints/latest"]
    )
    assert sum(name.startswith("replay/") for name in names) == made.chunks > 0


def test_there_and_back(victim: Victim, refused: Refused) -> None:
    """With its replay a run can be resumed, without it can be used and says why not more."""
    export_run(victim.path, Path("whole.zip"), replay=True)
    export_run(victim.path, Path("light.zip"))
    shutil.rmtree(victim.path)
    whole, light = import_run(Path("whole.zip"), Path("whole")), import_run(Path("light.zip"))
    assert (light.run, light.chunks) == (Path("runs/light"), 0)
    assert whole.chunks > 0
    assert load(light.run).act
    assert "came without its replay" in refused("resume", str(light.run), "--no-progress")
    refused("resume", "whole", "--no-progress", code=0)
    assert (Path("whole") / "status.json").read_text().count("completed") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["light.zip", "runs", "whole", "whole.zip"]


def test_nothing_is_overwritten(victim: Victim, archive: Path, refused: Refused) -> None:
    before = archive.read_bytes()
    assert "exists already" in refused("export", str(victim.path), str(archive))
    assert "exists already" in refused("import", str(archive), str(victim.path))
    Path("dangling").symlink_to("canary")
    with pytest.raises(RunError, match="exists already"):
        import_run(archive, Path("dangling"))
    assert archive.read_bytes() == before
    assert "ends in .zip" in refused("export", str(victim.path), "run.tar")


def test_a_full_disk_is_told_before_anything_is_written(
    archive: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    assert "has 10 free" in refused("import", str(archive), "new")
