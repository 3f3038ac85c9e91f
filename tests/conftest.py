"""What tests of several folders share: a process that forks them, so that imports are done once."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one, whatever pytest's import mode


@pytest.fixture(scope="session")
def nursery() -> Iterator[Any]:
    from nursery import Nursery

    with Nursery() as opened:
        yield opened
