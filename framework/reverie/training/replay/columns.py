"""The columns of a replay: one array per entry, and the same for action, reward and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.contracts.specs import ActionSpec, ObservationSpec
from reverie.errors import EnvironmentFault
from reverie.training.rows import Rows

Array = NDArray[Any]
Columns = dict[str, Array]
Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Column name to row shape and dtype."""

OBSERVATION = "obs/"


def layout_of(observation: ObservationSpec, action: ActionSpec) -> Layout:
    """The columns that rows of these spaces need."""
    entries = {OBSERVATION + key: (spec.shape, np.dtype(spec.dtype)) for key, spec in observation.items()}
    return {
        **entries,
        "action": ((action.size,), np.dtype(np.float32)),
        "reward": ((), np.dtype(np.float32)),
        "is_first": ((), np.dtype(bool)),
        "is_terminal": ((), np.dtype(bool)),
        "is_last": ((), np.dtype(bool)),
        "step_id": ((), np.dtype(np.int64)),
    }


def empty(layout: Layout, rows: int) -> Columns:
    """Columns with room for `rows` rows; their content means nothing yet."""
    return {name: np.empty((rows, *shape), dtype) for name, (shape, dtype) in layout.items()}


def row_bytes(layout: Layout) -> int:
    """Bytes of one row."""
    return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in layout.values())


def size_of(columns: Mapping[str, Array]) -> int:
    """Bytes held by columns, room for further rows included."""
    return sum(array.nbytes for array in columns.values())


def columns_of(rows: Rows, layout: Layout, step_id: Array) -> Columns:
    """Rows as columns, checked against the layout.

    Raises:
        EnvironmentFault: for a column of another shape or dtype: such rows never enter the replay.
    """
    columns = {OBSERVATION + key: value for key, value in rows.obs.items()}
    columns["action"], columns["reward"] = rows.action, rows.reward
    columns["is_first"], columns["is_terminal"], columns["is_last"] = rows.is_first, rows.is_terminal, rows.is_last
    columns["step_id"] = step_id
    if len(columns) != len(layout):
        raise EnvironmentFault(f"rows with the columns {sorted(columns)} where {sorted(layout)} are expected")
    count = len(step_id)
    for name, (shape, dtype) in layout.items():
        found = columns.get(name)
        if found is None or found.shape != (count, *shape) or found.dtype != dtype:
            given = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise EnvironmentFault(f"column '{name}' is {given}, expected {dtype} {(count, *shape)}")
    return columns
