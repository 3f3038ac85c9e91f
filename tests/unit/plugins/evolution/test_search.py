"""CMA-ES finds optima, leaves the world alone, and goes on bit by bit after it was saved as numbers."""

import numpy as np
import pytest

from reverie_plugins.evolution.search import Array, Search

OPTIMUM = np.array([1.0, -2.0, 0.5])


def scores(candidates: Array) -> Array:
    found: Array = -((candidates - OPTIMUM) ** 2).sum(1)
    return found


def advanced(search: Search, generations: int) -> Search:
    for _ in range(generations):
        search.tell(scores(search.ask()))
    return search


def test_it_maximises() -> None:
    found = advanced(Search(np.zeros(3), 0.5, 8, seed=1), 60)
    assert found.centre == pytest.approx(OPTIMUM, abs=1e-3)
    assert found.spread < 0.05


def test_a_search_made_again_from_its_scores_goes_on_bit_by_bit() -> None:
    alone = advanced(Search(np.ones(3), 0.3, 6, seed=2), 12)
    half = advanced(Search(np.ones(3), 0.3, 6, seed=2), 5)
    resumed = advanced(Search.resumed(np.ones(3), 0.3, 6, 2, np.stack(half.scores)), 7)
    assert np.array_equal(resumed.centre, alone.centre)
    assert resumed.spread == alone.spread
    assert np.array_equal(resumed.ask(), alone.ask())


def test_seeds_decide_and_numpys_own_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr,index]
    first, second = (advanced(Search(np.zeros(3), 0.5, 6, seed=seed), 3).centre for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]


def test_what_is_not_finite_is_worse_than_everything() -> None:
    search = Search(np.zeros(2), 0.5, 4, seed=0)
    search.ask()
    search.tell(np.array([np.nan, 3.0, -np.inf, 5.0]))
    assert search.scores[-1].tolist() == [2.0, 3.0, 2.0, 5.0]
