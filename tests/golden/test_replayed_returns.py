"""The critic's returns on replayed sequences (notes 4 and 13), by the definition and by hand.

A true end, a time limit, a stream that broke off, and a reset at the very start, all inside the chunks."""

import itertools

import pytest
import torch

from reverie.contracts import Batch
from reverie.nn import replayed_returns
from reverie_plugins.dreamer.replayed import anchors

B, T = 5, 7
NAMES = ("is_first", "is_terminal", "is_last")
DISCOUNT = 0.9


def flags(*at: tuple[int, int]) -> torch.Tensor:
    found = torch.zeros(B, T, dtype=torch.bool)
    for row, step in at:
        found[row, step] = True
    return found


def chunks() -> Batch:
    """Row 0: a true end at 3. Row 1: a time limit at 2. Row 2: broke off after 3. Row 3: starts with a reset and ends
    truly at the last step. Row 4: nothing happens."""
    generator = torch.Generator().manual_seed(0)
    first = flags((0, 4), (1, 3), (2, 4), (3, 0))
    terminal = flags((0, 3), (3, 6))
    reward = torch.randn(B, T, generator=generator, dtype=torch.float64).masked_fill(first, 0.0)
    last = terminal | flags((1, 2))
    return Batch({}, torch.zeros(B, T, 1), reward, first, terminal, last, torch.arange(B * T).reshape(B, T))


def by_definition(batch: Batch, anchor: list[list[float]], lam: float) -> dict[tuple[int, int], float]:
    """Episode by episode: (1 - lam) sum_n lam^(n-1) R^(n), the rest of the weight on the longest. States in which
    something ended have no entry."""
    found = {}
    reward, first = batch.reward.tolist(), batch.is_first.tolist()
    for row in range(B):
        borders = [0, *[t for t in range(1, T) if first[row][t]], T]
        for begin, end in itertools.pairwise(borders):
            for t in range(begin, end - 1):
                longest = end - 1 - t
                total = 0.0
                for n in range(1, longest + 1):
                    n_step = sum(DISCOUNT**k * reward[row][t + 1 + k] for k in range(n))
                    if not batch.is_terminal[row, t + n]:
                        n_step += DISCOUNT**n * anchor[row][t + n]
                    total += (lam ** (n - 1) * (1 - lam) if n < longest else lam ** (n - 1)) * n_step
                found[row, t] = total
    return found


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_equals_the_mixture_of_n_step_returns_of_each_episode(lam: float) -> None:
    batch = chunks()
    anchor = torch.randn(B, T, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = by_definition(batch, anchor.tolist(), lam)
    returns, counts = replayed_returns(batch, anchor, DISCOUNT, lam)
    assert returns.shape == counts.shape == (B, T - 1)
    assert {(row, t) for row in range(B) for t in range(T - 1) if counts[row, t]} == set(expected)
    assert set(counts.flatten().tolist()) == {0.0, 1.0}
    for (row, t), value in expected.items():
        assert float(returns[row, t]) == pytest.approx(value, rel=1e-12), (row, t)


def test_by_hand() -> None:
    """discount and lambda 1/2, anchors 8. On arrival at 2, with reward 4, a true end; in the second row a limit."""
    reward = torch.tensor([[0.0, 2.0, 4.0, 0.0], [0.0, 2.0, 4.0, 0.0]]).double()
    last = torch.tensor([[False, False, True, False]] * 2)
    terminal = torch.tensor([[False, False, True, False], [False] * 4])
    first = torch.tensor([[False, False, False, True]] * 2)
    batch = Batch({}, torch.zeros(2, 4, 1), reward, first, terminal, last, torch.zeros(2, 4))
    returns, counts = replayed_returns(batch, torch.full((2, 4), 8.0).double(), 0.5, 0.5)
    # The true end: R_1 = 4, R_0 = 2 + 1/2 (8/2 + 4/2) = 5. The limit: R_1 = 4 + 8/2 = 8, R_0 = 2 + 1/2 (4 + 4) = 6.
    assert returns[:, :2].tolist() == [[5.0, 4.0], [6.0, 8.0]]
    assert counts.tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]


def test_nothing_of_the_next_episode_is_seen() -> None:
    """Rewards, anchors and flags behind a border are poison: no return that counts changes."""
    batch = chunks()
    anchor = torch.randn(B, T, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    returns, counts = replayed_returns(batch, anchor, DISCOUNT, 0.95)
    poisoned_reward, poisoned_anchor = batch.reward.clone(), anchor.clone()
    for row, begin in ((0, 4), (1, 3), (2, 4)):
        poisoned_reward[row, begin:] = 1e6
        poisoned_anchor[row, begin:] = 1e6
    poisoned = Batch({}, batch.action, poisoned_reward, *[getattr(batch, n) for n in NAMES], batch.step_id)
    again, _ = replayed_returns(poisoned, poisoned_anchor, DISCOUNT, 0.95)
    for row, begin in ((0, 4), (1, 3), (2, 4)):
        kept = counts[row, :begin].bool()
        assert bool(kept.any())
        assert torch.equal(again[row, :begin][kept], returns[row, :begin][kept])


def test_anchors_are_imagined_returns_where_there_are_any() -> None:
    value = torch.arange(8.0).reshape(2, 4).requires_grad_()
    found = anchors(value, torch.tensor([[2, 0], [3, 1]]), torch.tensor([10.0, 20.0, 30.0, 40.0]))
    assert found.tolist() == [[20.0, 1.0, 10.0, 3.0], [4.0, 40.0, 6.0, 30.0]]
    assert not found.requires_grad
