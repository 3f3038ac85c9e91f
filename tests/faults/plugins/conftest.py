from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from reverie.testing.distributions import call_reverie, plugin_source, write_distribution

Reverie = Callable[..., CompletedProcess[str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where distributions are installed; holds a good one, which no bad one may harm."""
    modules = {"mod_good": plugin_source(name="good_dynamics")}
    return write_distribution(tmp_path / "site", "good-dist", plugins={"good": "mod_good"}, modules=modules)


@pytest.fixture
def reverie(site: Path, tmp_path: Path) -> Reverie:
    """Runs the real command line in a process of its own, in an empty folder, with `site` on its path."""

    def call(*arguments: str, **environment: str) -> CompletedProcess[str]:
        return call_reverie(tmp_path, site, *arguments, **environment)

    return call
