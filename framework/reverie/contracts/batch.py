"""Batches of experience: batch-major, arrival-aligned."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

BatchFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """A batch of chunks. At index t, `action[:, t]` is the action that led to `obs[:, t]`.

    Args:
        obs: raw entries, each (B, T, *shape); images uint8 (B, T, H, W, C), vectors float32.
        action: (B, T, A), in [-1, 1] or one-hot; zeros where `is_first`.
        reward: (B, T), the reward on arrival at `obs[:, t]`; 0 where `is_first`.
        is_first: (B, T) bool: forget everything before, `action[:, t]` included.
        is_terminal: (B, T) bool: a true end of the task, never a time limit.
        is_last: (B, T) bool: the episode ends here, truly or by a limit.
        step_id: (B, T) int64, the global id of each row.
    """

    obs: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    is_first: Tensor
    is_terminal: Tensor
    is_last: Tensor
    step_id: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.reward.shape[0], self.reward.shape[1]

    @property
    def cont(self) -> Tensor:
        """(B, T) float: 1 unless the task truly ended here; the target of a continue head."""
        return (~self.is_terminal).to(self.reward.dtype)

    def map(self, function: BatchFunction) -> "Batch":
        """A batch with `function` applied to every tensor (slicing, moving to a device)."""
        return Batch(
            obs={key: function(value) for key, value in self.obs.items()},
            action=function(self.action),
            reward=function(self.reward),
            is_first=function(self.is_first),
            is_terminal=function(self.is_terminal),
            is_last=function(self.is_last),
            step_id=function(self.step_id),
        )
