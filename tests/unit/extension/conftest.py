import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reverie.testing.distributions import write_distribution

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a small distribution for the length of one test; the arguments of `write_distribution`."""
    monkeypatch.delenv("REVERIE_DISABLE_PLUGINS", raising=False)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def write(name: str, **rest: object) -> Path:
        folder = write_distribution(site, name, **rest)  # type: ignore[arg-type]  # passed on as they came
        importlib.invalidate_caches()
        return folder

    yield write
    for module in set(sys.modules) - before:
        file = getattr(sys.modules[module], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[module]
