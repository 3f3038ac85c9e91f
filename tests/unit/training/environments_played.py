"""Random play in vector environments, with and without workers."""

from __future__ import annotations

import numpy as np
import pytest

BOTH = pytest.mark.parametrize("workers", ["none", "processes"])


def random_actions(environments, rng):
    if environments.action.is_discrete:
        return np.eye(environments.action.size)[rng.integers(environments.action.size, size=environments.count)]
    return rng.uniform(-1, 1, (environments.count, environments.action.size))


def play(environments, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [environments.step(random_actions(environments, rng)) for _ in range(steps)]
