import copy
import pickle

import torch

from reverie.assembly.state import GeneratorPool, mix


def test_mixed_seeds_spread_over_32_bits():
    values = [mix(seed, step) for seed in range(64) for step in range(64)]
    assert all(0 <= value < 2**32 for value in values)
    assert len(set(values)) == len(values)
    bits = torch.tensor([[(value >> bit) & 1 for bit in range(32)] for value in values]).float().mean(0)
    assert float((bits - 0.5).abs().max()) < 0.05


def test_seed_and_step_are_not_exchangeable():
    assert mix(1, 2) != mix(2, 1)
    assert mix(0, 0) != mix(0, 1)
    assert mix(-1, 0) == mix(2**64 - 1, 0)


def test_a_generator_depends_on_seed_and_step_only():
    pool = GeneratorPool()
    first = [torch.rand(3, generator=generator) for generator in pool.at([5, 6], [0, 9])]
    pool.at([1, 2, 3], [4, 5, 6])
    again = [torch.rand(3, generator=generator) for generator in pool.at([6, 5], [9, 0])]
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])


def test_the_pool_is_scratch_and_is_neither_copied_nor_saved():
    pool = GeneratorPool()
    pool.at([1, 2], [3, 4])
    assert copy.deepcopy(pool)._generators == []
    assert pool.__reduce__() == (GeneratorPool, ())
    assert isinstance(pickle.loads(pickle.dumps(pool)), GeneratorPool)
