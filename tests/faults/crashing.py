"""A disk that loses power: which folders may be left of a recorded list of changes.

The model is stricter than any file system in use. Content is kept from the moment at which the file was synced; before,
any beginning of it may be there. A name (a creation, a renaming, a removal) is kept from the moment at which its folder
was synced; before, each one by itself may have reached the disk or not, in any combination. A renaming within a folder
is one step.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from reverie.training.durable import Operation, watched


@dataclass(frozen=True)
class Change:
    """A recorded operation, by places relative to where recording began, with the content that it wrote."""

    kind: str
    path: Path
    target: Path | None = None
    content: bytes = b""


@contextmanager
def recorded(root: Path) -> Iterator[list[Change]]:
    """The changes made below `root` inside."""
    found: list[Change] = []

    def see(operation: Operation) -> None:
        path = operation.path.absolute().relative_to(root)
        target = operation.target.absolute().relative_to(root) if operation.target else None
        if operation.kind == "sync":
            content = operation.path.read_bytes()
            for index in range(len(found) - 1, -1, -1):
                if found[index].path == path and found[index].kind == "write":
                    found[index] = replace(found[index], content=content)
                    break
                if found[index].path == path:
                    break
            found.append(Change("sync", path, None, content))
        else:
            found.append(Change(operation.kind, path, target, operation.content))

    with watched(see):
        yield found


@dataclass(eq=False)
class File:
    """Content as the running system sees it, and the part of it that is safe."""

    now: bytes = b""
    safe: bytes | None = None

    def left(self, chance: random.Random) -> bytes:
        """What may be found afterwards."""
        if self.safe == self.now:
            return self.now
        known = self.safe if self.safe is not None and self.now.startswith(self.safe) else b""
        return self.now[: chance.randint(len(known), len(self.now))]


@dataclass(eq=False)
class Folder:
    """Names as the running system sees them."""

    entries: dict[str, "File | Folder"] = field(default_factory=dict)


@dataclass(eq=False)
class Naming:
    """One change of names: in each folder, a name and what it stands for from then on (None: nothing)."""

    parts: list[tuple[Folder, str, "File | Folder | None"]]
    safe: bool = False


class Disk:
    """Takes changes, and says what is left of them."""

    def __init__(self) -> None:
        self.root = Folder()
        self.namings: list[Naming] = []

    def apply(self, change: Change) -> None:
        {
            "folder": self._make,
            "write": self._write,
            "append": self._append,
            "sync": self._sync,
            "sync folder": self._sync_folder,
            "rename": self._rename,
            "remove": self._remove,
            "remove folder": self._remove,
        }[change.kind](change)

    def left_by_a_kill(self) -> dict[Path, bytes | None]:
        """Files after the process is gone and the machine goes on; None stands for a folder."""
        return dict(_walk(self.root, lambda folder: folder.entries, lambda file: file.now))

    def left_by_a_power_cut(self, chance: random.Random) -> dict[Path, bytes | None]:
        """Files after the machine has lost its power."""
        names: dict[Folder, dict[str, File | Folder]] = {}
        for naming in self.namings:
            if naming.safe or chance.random() < 0.5:
                for folder, name, stands_for in naming.parts:
                    held = names.setdefault(folder, {})
                    held.pop(name, None)
                    if stands_for is not None:
                        held[name] = stands_for
        return dict(_walk(self.root, lambda folder: names.get(folder, {}), lambda file: file.left(chance)))

    def _folder(self, path: Path) -> Folder:
        found: File | Folder = self.root
        for part in path.parts:
            assert isinstance(found, Folder)
            found = found.entries[part]
        assert isinstance(found, Folder)
        return found

    def _name(self, *parts: tuple[Path, "File | Folder | None"]) -> None:
        naming = Naming([(self._folder(path.parent), path.name, stands_for) for path, stands_for in parts])
        for folder, name, stands_for in naming.parts:
            folder.entries.pop(name, None)
            if stands_for is not None:
                folder.entries[name] = stands_for
        self.namings.append(naming)

    def _make(self, change: Change) -> None:
        self._name((change.path, Folder()))

    def _file(self, path: Path) -> File:
        found = self._folder(path.parent).entries.get(path.name)
        if not isinstance(found, File):
            found = File()
            self._name((path, found))
        return found

    def _write(self, change: Change) -> None:
        file = self._file(change.path)
        file.now, file.safe = change.content, None

    def _append(self, change: Change) -> None:
        self._file(change.path).now += change.content

    def _sync(self, change: Change) -> None:
        file = self._file(change.path)  # something else may have written it
        file.now = file.safe = change.content

    def _sync_folder(self, change: Change) -> None:
        folder = self._folder(change.path)
        for naming in self.namings:
            naming.safe |= any(part[0] is folder for part in naming.parts)

    def _rename(self, change: Change) -> None:
        assert change.target is not None
        moved = self._folder(change.path.parent).entries[change.path.name]
        self._name((change.path, None), (change.target, moved))

    def _remove(self, change: Change) -> None:
        if change.path.name in self._folder(change.path.parent).entries:
            self._name((change.path, None))


def _walk(
    folder: Folder,
    entries: Callable[[Folder], dict[str, File | Folder]],
    content: Callable[[File], bytes],
    place: Path = Path(),
) -> Iterator[tuple[Path, bytes | None]]:
    for name, found in entries(folder).items():
        if isinstance(found, Folder):
            yield place / name, None
            yield from _walk(found, entries, content, place / name)
        else:
            yield place / name, content(found)


def build(files: dict[Path, bytes | None], root: Path) -> None:
    """Make a folder of what was left; each folder in it comes before what it holds."""
    for path, content in files.items():
        if content is None:
            (root / path).mkdir(parents=True)
        else:
            (root / path).write_bytes(content)
