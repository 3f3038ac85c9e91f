"""Tiny runs that are hurt, and a process that forks them: imports are done once, so that a kill costs little."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # modules beside this one and above it


@pytest.fixture(scope="session")
def nursery() -> Iterator[Any]:
    from nursery import Nursery

    with Nursery() as opened:
        yield opened
