"""Products with one-hot vectors by look-up, beside the product itself."""

import pytest
import torch
from torch.nn import functional as F

from reverie.nn import lookup_pays, onto_lookup
from reverie.nn.distributions.one_hot import one_hot

G, K, U = 5, 4, 3


def parts(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    added = torch.randn(2, 6, U, generator=generator, dtype=torch.float64)
    weight = torch.randn(U, G * K, generator=generator, dtype=torch.float64)
    index = torch.randint(0, K + 1, (2, 6, G), generator=generator)  # K: no class
    index[0, 0] = K
    return added, weight, index


def vectors(index: torch.Tensor) -> torch.Tensor:
    return F.one_hot(index, K + 1)[..., :K].double().flatten(-2)


def test_one_hot_vectors_and_the_class_that_there_is_not():
    found = one_hot(torch.tensor([2, 0, 3]), torch.zeros(3))
    assert found.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_look_ups_equal_the_product_and_so_do_their_gradients():
    added, weight, index = parts()
    mine = [added.clone().requires_grad_(), weight.clone().requires_grad_()]
    theirs = [added.clone().requires_grad_(), weight.clone().requires_grad_()]
    found = onto_lookup(*mine, index)
    expected = theirs[0] + vectors(index) @ theirs[1].T
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[0, 0], added[0, 0])
    scale = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad((found * scale).sum(), mine),
        torch.autograd.grad((expected * scale).sum(), theirs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_part_of_a_weight_may_be_looked_up_in():
    """As a latent does: the layer reads its recurrent state beside its classes."""
    added, weight, index = parts()
    whole = torch.cat((torch.zeros(U, 2, dtype=torch.float64), weight), 1).requires_grad_()
    onto_lookup(added, whole[:, 2:], index).sum().backward()
    assert whole.grad is not None
    assert not whole.grad[:, :2].any()
    torch.testing.assert_close(whole.grad[:, 2:], vectors(index).sum((0, 1)).expand(U, -1))


@pytest.mark.parametrize(
    ("rows", "classes", "dtype", "pays"),
    [
        (4096, 16, torch.float32, True),
        (16, 16, torch.float32, False),  # laying the table out costs more than the product
        (4096, 4, torch.float32, False),  # too few multiplications by zero are saved
        (4096, 16, torch.bfloat16, False),
    ],
)
def test_look_ups_are_for_many_rows_in_full_precision(rows, classes, dtype, pays):
    index, weight = torch.zeros(rows, 8, dtype=torch.int64), torch.zeros(256, 8 * classes, dtype=dtype)
    assert lookup_pays(index, weight) is pays
