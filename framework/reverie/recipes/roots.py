"""Where recipes are found: the folders that plugins name, and any path that ends in `.yaml`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reverie.recipes.slots import NAMED, OPTION, SINGLE


@dataclass(frozen=True)
class Roots:
    """Folders of recipes, first come first served.

    Args:
        folders: the folders of the plugins.
        beside: the folder of the recipe that was given as a path, searched first.
    """

    folders: tuple[Path, ...]
    beside: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return (*((self.beside,) if self.beside else ()), *self.folders)

    def find(self, name: str, exclude: Path | None = None) -> Path | None:
        """The file of recipe `name`; `exclude` is the file that asks, which cannot mean itself."""
        if not OPTION.fullmatch(name):
            return None
        for folder in self.all:
            path = folder / f"{name}.yaml"
            if path.is_file() and not (exclude and path.resolve() == exclude.resolve()):
                return path
        return None

    def option(self, slot: str, value: str) -> Path | None:
        """The file `<slot>/<value>.yaml`, as `env/cartpole.yaml`."""
        return self.find(f"{slot}/{value}") if OPTION.fullmatch(value) else None

    def recipes(self) -> list[str]:
        """Names of all recipes."""
        return sorted(dict.fromkeys(self._names("", skip=(*SINGLE, *NAMED, "study"))))

    def options(self, slot: str) -> list[str]:
        """Names of the files below a slot's folder."""
        return sorted(dict.fromkeys(self._names(slot)))

    def _names(self, below: str, skip: Sequence[str] = ()) -> Iterator[str]:
        for root in self.all if below else self.folders:
            folder = root / below
            for path in folder.rglob("*.yaml") if folder.is_dir() else ():
                relative = path.relative_to(folder)
                if relative.parts[0] not in skip:
                    yield relative.with_suffix("").as_posix()


def primary(recipe: str | Path, folders: Sequence[Path]) -> tuple[Path | None, Roots]:
    """The file that a person means by a recipe's name or path, and the roots to resolve its defaults with."""
    text = str(recipe)
    if isinstance(recipe, Path) or text.endswith((".yaml", ".yml")):
        path = Path(text)
        return path, Roots(tuple(folders), path.parent)
    roots = Roots(tuple(folders))
    return roots.find(text), roots
