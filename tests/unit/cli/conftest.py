from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from reverie.testing.distributions import call_reverie

Reverie = Callable[..., CompletedProcess[str]]


@pytest.fixture
def reverie(tmp_path: Path) -> Reverie:
    """Runs the real command line in a process of its own, in an empty folder."""

    def call(*arguments: str, **environment: str) -> CompletedProcess[str]:
        return call_reverie(tmp_path, None, *arguments, **environment)

    return call
