"""Randomness that belongs to a place in the run and not to a moment: the same words give the same numbers.

Nothing here is state. A generator is made anew from the run's seed and the name of the place where it is used (which
update, which learner, which rank), so that there is nothing to save and nothing that two resumed runs could draw twice.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def key(*words: int | str) -> int:
    """A well-spread number of 63 bits from words such as `(seed, "replay", update, rank)`."""
    text = "\x1f".join(f"{type(word).__name__}:{word}" for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def torch_generator(*words: int | str) -> torch.Generator:
    """A CPU generator. torch's keeps 32 bits of its seed, so that is what it is given."""
    return torch.Generator().manual_seed(key(*words) & 0xFFFFFFFF)


def numpy_generator(*words: int | str) -> np.random.Generator:
    """A NumPy generator."""
    return np.random.Generator(np.random.PCG64(key(*words)))
