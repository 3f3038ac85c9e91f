"""What an environment shows and takes, in the form in which components see it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ArraySpec:
    """One entry of an observation as the environment gives it.

    Args:
        shape: `(size,)` for a vector, `(height, width, channels)` for an image.
        dtype: `"float32"` for vectors, `"uint8"` for images.
        low, high: bounds that every value must respect (`-inf` and `inf` where there are none).
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def is_image(self) -> bool:
        return self.dtype == "uint8"

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Shape after preprocessing, as encoders read and decoders predict it: images become (C, H, W)."""
        if self.is_image:
            height, width, channels = self.shape
            return (channels, height, width)
        return self.shape


@dataclass(frozen=True)
class ObservationSpec(Mapping[str, ArraySpec]):
    """All entries of an observation, by name, in a fixed order."""

    entries: Mapping[str, ArraySpec]

    def __getitem__(self, key: str) -> ArraySpec:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def vectors(self) -> dict[str, ArraySpec]:
        """The vector entries."""
        return {key: spec for key, spec in self.entries.items() if not spec.is_image}

    @property
    def images(self) -> dict[str, ArraySpec]:
        """The image entries."""
        return {key: spec for key, spec in self.entries.items() if spec.is_image}


@dataclass(frozen=True)
class ActionSpec:
    """The action that components see: `size` floats in [-1, 1], or a one-hot of length `size`.

    The environment's own bounds do not appear: rescaling is the environment's affair.

    Args:
        repeat: frames that one action lasts, for whoever counts time in frames. Two specs that differ in nothing else
            are equal: the same networks fit both.
    """

    kind: Literal["continuous", "discrete"]
    size: int
    repeat: int = field(default=1, compare=False)

    @property
    def is_discrete(self) -> bool:
        return self.kind == "discrete"
