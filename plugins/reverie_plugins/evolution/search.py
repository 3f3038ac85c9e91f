"""CMA-ES that can be saved as a few numbers and goes on bit by bit where it stopped."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Search:
    """One run of CMA-ES, maximising.

    The `cma` package can only pickle itself, and a checkpoint holds no pickles. The search is decided by its start, its
    seed and the scores that it was told: `resumed` asks and tells the recorded ones again, with the same draws.

    Args:
        start: (n,) where the search begins.
        sigma: its first standard deviation.
        population: candidates per generation.
        seed: of all its draws.
    """

    def __init__(self, start: Array, sigma: float, population: int, seed: int) -> None:
        import cma

        self.start, self.sigma, self.population, self.seed = start.copy(), sigma, population, seed
        self.scores: list[Array] = []
        rng = np.random.default_rng(seed)
        options: dict[str, Any] = {
            "popsize": population,
            "randn": lambda *size: rng.standard_normal(size),
            "seed": np.nan,  # the package must not seed NumPy's global generator
            "verbose": -9,
            "verb_log": 0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about populations smaller than its own choice
            self._strategy: Any = cma.CMAEvolutionStrategy(start, sigma, options)
        self._asked: list[Array] = []

    @classmethod
    def resumed(cls, start: Array, sigma: float, population: int, seed: int, scores: Array) -> Search:
        """The search that was told these scores (generations, population)."""
        search = cls(start, sigma, population, seed)
        for row in scores:
            search.ask()
            search.tell(row)
        return search

    def ask(self) -> Array:
        """(population, n) candidates."""
        self._asked = self._strategy.ask()
        return np.stack(self._asked)

    def tell(self, scores: Array) -> None:
        """The scores (population,) of the candidates that were asked for; higher is better. What is not finite counts
        as worse than all others."""
        finite = np.isfinite(scores)
        floor = scores[finite].min() - 1.0 if finite.any() else 0.0
        told = np.where(finite, scores, floor)
        self._strategy.tell(self._asked, (-told).tolist())
        self.scores.append(told)

    @property
    def centre(self) -> Array:
        """(n,): the mean of the distribution that candidates are drawn from."""
        found: Array = np.asarray(self._strategy.mean, dtype=np.float64)
        return found

    @property
    def spread(self) -> float:
        """The step size now."""
        return float(self._strategy.sigma)
