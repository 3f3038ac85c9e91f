"""Lightning without its small talk: people who train an agent need not know which library loops for them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKERS = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric", "lightning_utilities")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside, Lightning reports errors only; advice about loaders and validation loops would be about our own code."""
    before = {name: logging.getLogger(name).level for name in _TALKERS}
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
            warnings.filterwarnings("ignore", module=r"lightning_fabric\..*")
            warnings.filterwarnings("ignore", message=r".*find_unused_parameters=True was specified.*")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
