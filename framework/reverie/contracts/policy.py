"""Acting, whatever stands behind it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Policy(Protocol):
    """Acts for n environments side by side. All memory is in `state`; the policy object itself has none.

    The state keeps what was really executed (after exploration noise and clipping) and, per environment, the seed
    and the step from which its random numbers are made, so that no generator is ever saved.
    """

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> Any:
        """The state of n environments that have not begun; `seeds` makes their randomness independent of n."""
        ...

    def act(
        self, obs: Mapping[str, Array | Tensor], state: Any, is_first: Array | Tensor, *, explore: bool = False
    ) -> tuple[Array, Any]:
        """Raw observations (n, *shape) and is_first (n,) -> actions (n, A) as components see them (in [-1, 1] or
        one-hot), float32, and the new state."""
        ...
