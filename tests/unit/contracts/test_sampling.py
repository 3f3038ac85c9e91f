"""Noise belongs to rows: to environments by their generators, to ranks by their shard."""

import pytest
import torch

from reverie.contracts import Sampling


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_rows_of_one_environment_are_neighbours_and_independent_of_the_others() -> None:
    together = Sampling(generators=generators(1, 2)).randn((6, 16))
    alone = Sampling(generators=generators(2)).randn((3, 16))
    assert torch.equal(together[3:], alone)


def test_uneven_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rows cannot be split evenly among 2 generators"):
        Sampling(generators=generators(1, 2)).rand((5, 2))


def test_two_shards_give_the_noise_of_the_whole() -> None:
    whole = Sampling(generators=generators(3)).randn((8, 5))
    parts = [Sampling(generators=generators(3), shard=(rank, 2)).randn((4, 5)) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


def test_noise_ignores_the_mode_but_a_draw_does_not() -> None:
    sampling = Sampling(mode="mode", generators=generators(0))
    normal = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
    assert sampling.randn((4, 1)).abs().sum() > 0
    assert torch.equal(sampling.draw(normal), torch.zeros(4))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    Sampling(generators=generators(0)).randn((4, 3))
    Sampling(generators=generators(0, 1)).rand((4, 3))
    assert torch.equal(before, torch.get_rng_state())


def test_neighbours_that_share_their_noise_get_that_of_one_row() -> None:
    shared = Sampling(generators=generators(3), shared=3).randn((12, 5))
    alone = Sampling(generators=generators(3)).randn((4, 5))
    assert torch.equal(shared, alone.repeat_interleave(3, 0))
    with pytest.raises(ValueError, match="8 rows cannot share their noise by 3"):
        Sampling(shared=3).rand((8, 2))
