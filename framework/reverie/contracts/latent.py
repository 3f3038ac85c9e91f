"""The state of a dynamics model: a frozen bundle of tensors that share their leading dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Latent:
    """Base of every latent state. A dynamics subclasses it with its own tensor fields.

    Every field has shape (*batch_shape, *event); `event_dims` names the fields whose event has another number of
    dimensions than one. `features` is what heads, actors and critics read, `code` what a decoder reads.
    """

    event_dims: ClassVar[dict[str, int]] = {}

    @property
    def features(self) -> Tensor:
        """(*batch_shape, F): what heads, actors and critics read. Every subclass defines it."""
        raise TypeError(f"{type(self).__name__} does not define the property `features`")

    @property
    def code(self) -> Tensor:
        """(*batch_shape, C): what a decoder reads."""
        return self.features

    @property
    def distribution(self) -> Any:
        """What the stochastic part was drawn from, batch shape (*batch_shape); None where there is none or it is not
        kept. Metrics read it: `kl(other)` of posterior and prior, `probs` of categoricals, `mean` and `std` of
        Gaussians."""
        return None

    def project(self, linear: nn.Linear) -> Tensor:
        """`linear(features)`: the door through which first layers read a latent. May be answered faster."""
        return F.linear(self.features, linear.weight, linear.bias)

    # Bookkeeping that every latent gets for nothing.

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name: how a latent is saved. `type(latent)(**latent.tensors())` restores it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same latent with `function` applied to every field."""
        return replace(self, **{name: function(value) for name, value in self.tensors().items()})

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions that all fields share."""
        entry = fields(self)[0].name
        value: Tensor = getattr(self, entry)
        return value.shape[: value.dim() - self.event_dims.get(entry, 1)]

    @property
    def device(self) -> torch.device:
        value: Tensor = getattr(self, fields(self)[0].name)
        return value.device

    def detach(self) -> Self:
        """Cut from the graph."""
        return self.map(Tensor.detach)

    def flatten(self) -> Self:
        """(*B, ...) -> (prod(B), ...), in row-major order."""
        dims = len(self.batch_shape)
        return self.map(lambda value: value.reshape(-1, *value.shape[dims:]))

    def reshape(self, *batch_shape: int) -> Self:
        """The same rows under another batch shape."""
        dims = len(self.batch_shape)
        return self.map(lambda value: value.reshape(*batch_shape, *value.shape[dims:]))

    def repeat(self, n: int) -> Self:
        """(B, ...) -> (B * n, ...): n copies of each row side by side (interleaved), never tiled."""
        return self.map(lambda value: value.repeat_interleave(n, dim=0))

    def where(self, mask: Tensor, other: Self) -> Self:
        """Rows of `self` where `mask` (*batch_shape) is true, rows of `other` elsewhere."""

        def choose(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(mask.reshape(mask.shape + (1,) * (mine.dim() - mask.dim())), mine, theirs)

        theirs = other.tensors()
        return replace(self, **{name: choose(value, theirs[name]) for name, value in self.tensors().items()})

    def __getitem__(self, index: Any) -> Self:
        """Index the batch dimensions. An index that would reach into the event dimensions is refused by torch or
        gives wrong shapes: keep to the batch dimensions."""
        return self.map(lambda value: value[index])

    @classmethod
    def stack(cls, latents: Sequence[Self], dim: int = 0) -> Self:
        """Stack along a new batch dimension."""
        columns = {name: [getattr(latent, name) for latent in latents] for name in latents[0].tensors()}
        return replace(latents[0], **{name: torch.stack(column, dim) for name, column in columns.items()})

    @classmethod
    def cat(cls, latents: Sequence[Self], dim: int = 0) -> Self:
        """Concatenate along a batch dimension."""
        columns = {name: [getattr(latent, name) for latent in latents] for name in latents[0].tensors()}
        return replace(latents[0], **{name: torch.cat(column, dim) for name, column in columns.items()})
