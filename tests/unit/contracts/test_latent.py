"""The bookkeeping that every latent inherits."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from reverie.contracts import Latent


@dataclass(frozen=True)
class Pair(Latent):
    event_dims: ClassVar[dict[str, int]] = {"table": 2}
    deter: Tensor
    table: Tensor

    @property
    def features(self) -> Tensor:
        return torch.cat([self.deter, self.table.flatten(-2)], -1)


def pair(*batch: int) -> Pair:
    rows = torch.arange(torch.Size(batch).numel(), dtype=torch.float32).reshape(*batch, 1)
    return Pair(deter=rows.expand(*batch, 3).clone(), table=rows[..., None].expand(*batch, 2, 5).clone())


def test_batch_shape_ignores_event_dimensions() -> None:
    assert pair(4, 7).batch_shape == (4, 7)
    assert pair(4, 7).features.shape == (4, 7, 13)


def test_repeat_is_interleaved() -> None:
    assert pair(3).repeat(2).deter[:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_flatten_is_row_major_and_reshape_undoes_it() -> None:
    latent = pair(2, 3)
    flat = latent.flatten()
    assert flat.deter[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(flat.reshape(2, 3).table, latent.table)


def test_where_chooses_rows_in_fields_of_every_rank() -> None:
    mask = torch.tensor([True, False, True])
    mixed = pair(3).where(mask, pair(3).map(lambda value: value - 100))
    assert mixed.deter[:, 0].tolist() == [0, -99, 2]
    assert mixed.table[:, 1, 4].tolist() == [0, -99, 2]


def test_stack_cat_and_index() -> None:
    a, b = pair(2), pair(2).map(lambda value: value + 10)
    assert Pair.stack([a, b], dim=1).deter[..., 0].tolist() == [[0, 10], [1, 11]]
    assert Pair.cat([a, b]).deter[:, 0].tolist() == [0, 1, 10, 11]
    assert Pair.stack([a, b], dim=1)[:, 1].table[:, 0, 0].tolist() == [10, 11]


def test_tensors_round_trip_and_detach() -> None:
    latent = pair(2).map(lambda value: value.requires_grad_())
    assert type(latent)(**latent.tensors()).features.requires_grad
    assert not latent.detach().features.requires_grad


def test_project_is_linear_of_features() -> None:
    linear = nn.Linear(13, 4)
    latent = pair(5)
    torch.testing.assert_close(latent.project(linear), linear(latent.features))


def test_a_latent_without_features_says_so() -> None:
    with pytest.raises(TypeError, match="Latent does not define the property `features`"):
        _ = Latent().features
