"""The data source `episodes`: one `.npz` file per episode, arrays only."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie import EnvironmentFault, PluginError
from reverie.contracts import ActionSpec, ArraySpec, DataSource, Episode, ObservationSpec
from reverie_plugins.episodes.config import EpisodesConfig

Array = NDArray[Any]

ALWAYS = ("action", "reward", "terminated")
"""What every file holds besides observations."""

LARGEST = 2**31
"""Bytes that one episode may have once it is unpacked: the file may be a stranger's, and small."""


class EpisodeFolder(DataSource):
    """Reads spaces from the first file; every other one must agree.

    A file holds `obs` (T + 1, ...) or several `obs/<entry>`, `action` (T, A) or (T,), `reward` (T,), `terminated` (one
    truth value, or (T,)), and perhaps `truncated`, without which an episode that did not truly end met a limit.

    Raises:
        PluginError: if there is no such folder, or no file in it.
        EnvironmentFault: for a file that is not of this form.
    """

    def __init__(self, config: EpisodesConfig) -> None:
        super().__init__(config)
        self.config: EpisodesConfig = config
        folder = Path(config.folder)
        if not folder.is_dir():
            raise PluginError(f"data (episodes): there is no folder {folder}\nfix: name one with data.folder=...")
        self.files = sorted(folder.glob("*.npz"))
        if not self.files:
            raise PluginError(f"data (episodes): {folder} holds no .npz file\nfix: write one file for each episode")
        first = self.episode(0)
        self.observation = ObservationSpec({key: _spec(value) for key, value in first.obs.items()})
        self.action = self._actions(first.action)

    def __len__(self) -> int:
        return len(self.files)

    def episode(self, index: int) -> Episode:
        path = self.files[index]
        try:
            arrays = _arrays(path)
        except Exception as error:  # whatever a damaged or foreign file makes of NumPy's reader
            raise EnvironmentFault(f"{path.name} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
        missing = [name for name in ALWAYS if name not in arrays]
        entries = _entries(arrays)
        if missing or not entries:
            raise EnvironmentFault(f"{path.name} lacks {', '.join(missing or ['obs'])}; it holds {', '.join(arrays)}")
        terminated = np.asarray(arrays["terminated"], bool).reshape(-1)
        truncated = np.asarray(arrays.get("truncated", ~terminated[-1:]), bool).reshape(-1)
        if terminated[:-1].any():
            raise EnvironmentFault(f"{path.name}: `terminated` is true in the middle of the episode")
        over = bool(terminated[-1:].any())
        ended = over or bool(truncated[-1:].any())
        return Episode(entries, _action(arrays["action"]), arrays["reward"], over, ended)

    def _actions(self, action: Array) -> ActionSpec:
        if not np.issubdtype(action.dtype, np.integer):
            return ActionSpec("continuous", int(action.shape[-1]))
        if self.config.choices is None:
            found = int(action.max(initial=0))
            raise PluginError(
                f"data (episodes): actions are whole numbers (up to {found} in {self.files[0].name}), and it is not "
                "said how many there are to choose from\nfix: set data.choices=..."
            )
        return ActionSpec("discrete", self.config.choices)


def _arrays(path: Path) -> dict[str, Array]:
    """Everything in a file.

    Raises:
        ValueError: for one that is no plain file, holds something else than numbers, or would become larger than any
            episode.
    """
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("it is not a plain file")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST:
        raise ValueError(f"it would have {size} bytes once it is unpacked, more than {LARGEST}")
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds no numbers")
    return found


def _entries(arrays: dict[str, Array]) -> dict[str, Array]:
    """Observations in the standard form; a single `obs` is called `state`, or `image`."""
    named = {name.partition("/")[2]: value for name, value in arrays.items() if name.startswith("obs/")}
    if not named and "obs" in arrays:
        named = {"image" if arrays["obs"].dtype == np.uint8 and arrays["obs"].ndim == 4 else "state": arrays["obs"]}
    return {key: _standard(value) for key, value in named.items()}


def _standard(value: Array) -> Array:
    if value.dtype == np.uint8 and value.ndim == 4:
        return value
    return _flat(value)


def _action(action: Array) -> Array:
    if np.issubdtype(action.dtype, np.integer):
        return action.reshape(-1)
    return _flat(action)


def _flat(value: Array) -> Array:
    """(T, ...) -> (T, size) float32."""
    rows = np.atleast_1d(value)
    return rows.astype(np.float32).reshape(len(rows), int(np.prod(rows.shape[1:])))


def _spec(value: Array) -> ArraySpec:
    if value.dtype == np.uint8:
        return ArraySpec(tuple(value.shape[1:]), "uint8", 0, 255)
    return ArraySpec(tuple(value.shape[1:]), "float32")
