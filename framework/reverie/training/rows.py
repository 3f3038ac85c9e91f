"""Rows of experience, and the one place where experience becomes arrival-aligned.

A row holds an observation together with what led to it: `action[t]` and `reward[t]` belong to the arrival at `obs[t]`.
A stream of rows reads: reset row, step rows, last row, reset row, ... Reset rows have action 0, reward 0 and
`is_first`. Nothing else in Reverie shifts actions or rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import EnvironmentFault

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """L consecutive rows of one stream, or one row of each of L environments.

    Args:
        obs: raw entries, each (L, *shape), images uint8 (H, W, C), vectors float32.
        action: (L, A) float32, in [-1, 1] or one-hot; 0 where `is_first`.
        reward: (L,) float32, on arrival; 0 where `is_first`.
        is_first: (L,) bool.
        is_terminal: (L,) bool: a true end, never a time limit.
        is_last: (L,) bool: the episode ends here, truly or by a limit.
        step_id: (L,) int64, given by the replay when it takes the rows; None before.
    """

    obs: dict[str, Array]
    action: Array
    reward: Array
    is_first: Array
    is_terminal: Array
    is_last: Array
    step_id: Array | None = None

    def __len__(self) -> int:
        return len(self.reward)

    def __getitem__(self, index: slice | Array) -> Rows:
        """The rows at a slice, a mask or an index array (never a single number: rows keep their axis)."""
        return Rows(
            obs={key: value[index] for key, value in self.obs.items()},
            action=self.action[index],
            reward=self.reward[index],
            is_first=self.is_first[index],
            is_terminal=self.is_terminal[index],
            is_last=self.is_last[index],
            step_id=None if self.step_id is None else self.step_id[index],
        )

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Rows:
        """The rows of all parts, in order. Step ids are kept where every part has them."""
        numbered = [part.step_id for part in parts if part.step_id is not None]
        return Rows(
            obs={key: np.concatenate([part.obs[key] for part in parts]) for key in parts[0].obs},
            action=np.concatenate([part.action for part in parts]),
            reward=np.concatenate([part.reward for part in parts]),
            is_first=np.concatenate([part.is_first for part in parts]),
            is_terminal=np.concatenate([part.is_terminal for part in parts]),
            is_last=np.concatenate([part.is_last for part in parts]),
            step_id=np.concatenate(numbered) if len(numbered) == len(parts) else None,
        )


def reset_rows(obs: Mapping[str, Array], action_size: int) -> Rows:
    """Rows of L first observations: nothing led to them."""
    count = len(next(iter(obs.values())))
    none = np.zeros(count, bool)
    return Rows(
        obs=dict(obs),
        action=np.zeros((count, action_size), np.float32),  # (L, A)
        reward=np.zeros(count, np.float32),  # (L,)
        is_first=np.ones(count, bool),
        is_terminal=none,
        is_last=none,
    )


def step_rows(obs: Mapping[str, Array], action: Array, reward: Array, terminated: Array, truncated: Array) -> Rows:
    """Rows of L steps: `action` led to `obs` and `reward`, as `step` of Gymnasium returns them together."""
    return Rows(
        obs=dict(obs),
        action=action,
        reward=np.asarray(reward, np.float32),  # (L,)
        is_first=np.zeros(len(action), bool),
        is_terminal=terminated,
        is_last=terminated | truncated,
    )


def encode_action(action: Array, spec: ActionSpec) -> Array:
    """(..., A) float32 as components see actions. Discrete actions may come as numbers (...) or already one-hot.

    Raises:
        EnvironmentFault: if the last axis is not of the spec's size, or a number is none of its choices.
    """
    action = np.asarray(action)
    if spec.is_discrete and np.issubdtype(action.dtype, np.integer):
        if action.size and (action.min() < 0 or action.max() >= spec.size):
            raise EnvironmentFault(f"an action outside 0 ... {spec.size - 1}: {action.min()} ... {action.max()}")
        return np.eye(spec.size, dtype=np.float32)[action]  # (..., A)
    if action.shape[-1:] != (spec.size,):
        raise EnvironmentFault(f"actions of shape {action.shape} where the last axis should have size {spec.size}")
    return action.astype(np.float32, copy=False)


def episode_rows(
    obs: Mapping[str, Array],
    action: Array,
    reward: Array,
    terminated: Array | bool,
    *,
    spec: ActionSpec,
    ended: bool = True,
) -> Rows:
    """One episode of a data set, stored as T + 1 observations and T actions (as Minari does), as T + 1 rows.

    Args:
        obs: each (T + 1, *shape): the first observation, then one after every action.
        action: (T, A), or (T,) numbers where actions are discrete.
        reward: (T,), for each action.
        terminated: whether the last step was a true end; of an array (T,) only the last value can be true.
        spec: of the actions.
        ended: false for an episode that was cut off in the middle: its last row is then not `is_last`.

    Raises:
        EnvironmentFault: where lengths do not fit together or a true end lies in the middle.
    """
    steps = len(reward)
    for key, value in obs.items():
        if len(value) != steps + 1:
            raise EnvironmentFault(f"entry '{key}' has {len(value)} observations for {steps} rewards, not {steps + 1}")
    if len(action) != steps:
        raise EnvironmentFault(f"{len(action)} actions for {steps} rewards")
    ends = np.zeros(steps, bool)
    ends[-1:] = np.asarray(terminated).reshape(-1)[-1:]
    if np.asarray(terminated).reshape(-1)[:-1].any():
        raise EnvironmentFault("a true end in the middle of an episode")
    first = reset_rows({key: value[:1] for key, value in obs.items()}, spec.size)
    limit = np.zeros(steps, bool)
    limit[-1:] = ended
    rest = step_rows(
        {key: value[1:] for key, value in obs.items()}, encode_action(action, spec), np.asarray(reward), ends, limit
    )
    return Rows.cat([first, rest])


class LoopConverter:
    """Turns the loop of a Gymnasium vector environment into rows, whatever its autoreset mode.

    `reset` and `step` take what the vector environment returned and give the new rows of every stream: none or one,
    or two where the last observation of one episode and the first of the next arrive together.

    Args:
        action: of the environments.
        autoreset: of the vector environment. In `NEXT_STEP`, the observation of the step after an end is a reset and
            the action sent with it was ignored; in `SAME_STEP`, the last observation is in `infos["final_obs"]`; in
            `DISABLED`, the caller resets with a mask and hands the result to `reset`.
    """

    def __init__(self, action: ActionSpec, autoreset: AutoresetMode = AutoresetMode.DISABLED) -> None:
        self.action = action
        self.autoreset = autoreset
        self._ended: Array | None = None  # (n,) bool: ended in the previous step

    def reset(self, obs: Mapping[str, Array], mask: Array | None = None) -> list[Rows]:
        """Rows for `obs`, each (n, *shape); only where `mask` (n,), or everywhere."""
        rows = reset_rows(obs, self.action.size)
        if self._ended is None or mask is None:
            mask = np.ones(len(rows), bool)
        self._ended = np.zeros(len(rows), bool) if self._ended is None else self._ended & ~mask
        return [rows[i : i + 1] if mask[i] else rows[:0] for i in range(len(rows))]

    def step(
        self,
        action: Array,
        obs: Mapping[str, Array],
        reward: Array,
        terminated: Array,
        truncated: Array,
        infos: Mapping[str, Any] | None = None,
    ) -> list[Rows]:
        """Rows for one call of `step` with `action` (n, A), or (n,) where discrete, per stream.

        Raises:
            EnvironmentFault: for a step before the first reset, a step of an ended environment in `DISABLED`, or a
                missing final observation in `SAME_STEP`.
        """
        if self._ended is None:
            raise EnvironmentFault("a step before the first reset")
        if self.autoreset == AutoresetMode.DISABLED and self._ended.any():
            raise EnvironmentFault(
                f"environments {np.flatnonzero(self._ended).tolist()} were not reset after their end"
            )
        taken = step_rows(obs, encode_action(action, self.action), reward, terminated, truncated)
        fresh = reset_rows(obs, self.action.size)
        found = []
        for i in range(len(taken)):
            one = slice(i, i + 1)
            if self.autoreset == AutoresetMode.NEXT_STEP and self._ended[i]:
                found.append(fresh[one])
            elif self.autoreset == AutoresetMode.SAME_STEP and taken.is_last[i]:
                found.append(Rows.cat([_with_final(taken[one], infos, i), fresh[one]]))
            else:
                found.append(taken[one])
        same = self.autoreset == AutoresetMode.SAME_STEP  # the next episode has begun already
        self._ended = np.zeros(len(taken), bool) if same else taken.is_last.copy()
        return found


def _with_final(row: Rows, infos: Mapping[str, Any] | None, index: int) -> Rows:
    """One row (1, ...) with its observation replaced by the final one, which `SAME_STEP` puts into the infos."""
    final = None if infos is None else infos.get("final_obs")
    mine = None if final is None else final[index]
    if mine is None:
        raise EnvironmentFault(
            f"environment {index} ended, but `infos['final_obs']` does not hold its last observation"
        )
    obs = {key: np.asarray(mine[key], row.obs[key].dtype)[None] for key in row.obs}
    return Rows(obs, row.action, row.reward, row.is_first, row.is_terminal, row.is_last)


def check_rows(rows: Rows, observation: ObservationSpec, action: ActionSpec) -> None:
    """Refuse rows from outside that no environment of this kind could have given.

    Raises:
        EnvironmentFault: naming the entry and the first row that is wrong.
    """
    if set(rows.obs) != set(observation):
        raise EnvironmentFault(f"entries {sorted(rows.obs)} where {sorted(observation)} are expected")
    for key, spec in observation.items():
        value = rows.obs[key]
        if value.shape[1:] != spec.shape or value.dtype != np.dtype(spec.dtype):
            raise EnvironmentFault(
                f"entry '{key}' is {value.dtype} {value.shape[1:]}, expected {spec.dtype} {spec.shape}"
            )
        if not spec.is_image:
            _refuse(key, ~np.isfinite(value), value)
    if rows.action.shape != (len(rows), action.size):
        raise EnvironmentFault(f"actions of shape {rows.action.shape}, expected {(len(rows), action.size)}")
    _refuse("action", ~(np.abs(rows.action) <= 1), rows.action)
    _refuse("reward", ~np.isfinite(rows.reward), rows.reward)


def _refuse(key: str, wrong: Array, value: Array) -> None:
    if wrong.any():
        place = np.argwhere(wrong)[0]
        raise EnvironmentFault(f"'{key}' is {value[tuple(place)]} at row {place[0]}")
