"""The data source `minari`: a local Minari data set, brought into the standard form like its environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reverie import EnvironmentFault, PluginError
from reverie.contracts import ActionSpec, ArraySpec, DataSource, Episode, ObservationSpec
from reverie_plugins.gym.config import MinariConfig
from reverie_plugins.gym.spaces import Entry, action_map, entry, flatten, look_up

Array = NDArray[Any]


class MinariData(DataSource):
    """Episodes of one data set. Nothing is downloaded.

    Raises:
        PluginError: if Minari is not installed, or there is no such data set.
        EnvironmentFault: if its spaces cannot be brought into the standard form.
    """

    def __init__(self, config: MinariConfig) -> None:
        super().__init__(config)
        self.config: MinariConfig = config
        self._set = _opened(config.dataset)
        leaves = flatten(self._set.observation_space)
        unknown = [name for name in config.hide if name not in leaves]
        if unknown:
            raise EnvironmentFault(f"`hide` names the entry '{unknown[0]}', but there are only {', '.join(leaves)}")
        self._entries = {
            name: entry(name, path, leaf) for name, (path, leaf) in leaves.items() if name not in config.hide
        }
        if not self._entries:
            raise EnvironmentFault("`hide` leaves nothing to observe")
        self.observation = ObservationSpec({name: _spec(part.box) for name, part in self._entries.items()})
        self.action: ActionSpec = action_map(self._set.action_space).spec
        self._encode = _to_standard(self._set.action_space)
        self._indices = [int(index) for index in self._set.episode_indices]

    def __len__(self) -> int:
        return len(self._indices)

    def episode(self, index: int) -> Episode:
        try:
            (found,) = self._set.iterate_episodes([self._indices[index]])
        except Exception as error:  # whatever a damaged or foreign file makes of its readers
            raise EnvironmentFault(
                f"episode {index} of {self.config.dataset} cannot be read: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        terminated = np.asarray(found.terminations, bool)
        if terminated[:-1].any():
            raise EnvironmentFault(f"episode {index} of {self.config.dataset} truly ends in the middle")
        over = bool(terminated[-1:].any())
        return Episode(
            obs={name: _column(part, found.observations) for name, part in self._entries.items()},
            action=self._encode(np.asarray(found.actions)),
            reward=np.asarray(found.rewards),
            terminated=over,
            ended=over or bool(np.asarray(found.truncations, bool)[-1:].any()),
        )


def _opened(name: str) -> Any:
    """A data set by the path of its folder or by its id."""
    try:
        import minari
    except ImportError as error:
        raise PluginError("data (minari): Minari is not installed\nfix: pip install 'reverie[minari]'") from error
    try:
        if Path(name).is_dir():
            inside = Path(name) / "data"
            return minari.MinariDataset(inside if inside.is_dir() else Path(name))
        return minari.load_dataset(name, download=False)
    except FileNotFoundError as error:
        raise PluginError(
            f"data (minari): there is no local data set {name!r}, and nothing is downloaded\n"
            f"fix: `minari download {name}`, or name the folder of one"
        ) from error
    except Exception as error:  # whatever a damaged or foreign folder makes of Minari
        raise PluginError(
            f"data (minari): {name!r} cannot be opened: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _column(part: Entry, observations: Any) -> Array:
    """One entry of T + 1 observations, in the standard form."""
    raw = np.asarray(look_up(observations, part.path))
    return np.stack([part.convert(value) for value in raw])


def _to_standard(space: gym.Space[Any]) -> Callable[[Array], Array]:
    """The environment's own actions, as components see them: the way back from `action_map`."""
    if isinstance(space, gym.spaces.Discrete):
        start = int(space.start)
        return lambda actions: (actions.reshape(-1) - start).astype(np.int64)
    assert isinstance(space, gym.spaces.Box)
    low, high = space.low.astype(np.float64).reshape(-1), space.high.astype(np.float64).reshape(-1)
    middle, half = (high + low) / 2, np.where(high > low, (high - low) / 2, 1.0)

    def encode(actions: Array) -> Array:
        scaled = (actions.astype(np.float64).reshape(len(actions), -1) - middle) / half  # (T, A)
        clipped: Array = np.clip(scaled, -1.0, 1.0)  # an environment clips what lies beyond its bounds
        return clipped.astype(np.float32)

    return encode


def _spec(box: gym.spaces.Box) -> ArraySpec:
    dtype = "uint8" if box.dtype == np.uint8 else "float32"
    return ArraySpec(tuple(box.shape), dtype, float(box.low.min()), float(box.high.max()))  # type: ignore[arg-type]
