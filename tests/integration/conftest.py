"""Runs so small that a test can afford several."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the modules above this folder, whatever pytest's import mode

from tiny_runs import TINY, differences, final_state, rows_of

__all__ = ["TINY", "differences", "final_state", "rows_of"]


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Any]:
    """A prepared tiny Dreamer, with further overrides."""
    from reverie.extension.manager import load_plugins
    from reverie.recipes.prepare import prepare

    plugins = load_plugins()

    def make(*overrides: str) -> Any:
        return prepare("dreamer", [*TINY, *overrides], plugins=plugins)

    return make
