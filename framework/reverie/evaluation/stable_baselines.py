"""Models of Stable-Baselines3 as policies: one that a program holds, or one from a file, which runs code when read."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reverie.contracts.specs import ActionSpec, ArraySpec, ObservationSpec
from reverie.errors import ReverieError, RunError
from reverie.evaluation.episodes import Mode
from reverie.extension.names import suggest
from reverie.recipes.locate import printable

Array = NDArray[Any]

LIBRARY = "stable_baselines3"


class ModelPolicy:
    """A model of Stable-Baselines3 in the standard form: its actions are brought from its own bounds to [-1, 1], or
    made one-hot. Observations reach it as the environment gives them: statistics of `VecNormalize` are no part of it.

    Args:
        model: anything with `predict(obs, deterministic=...)`, `observation_space` and `action_space`.
        observation, action: of the environment in which it is to act.

    Raises:
        RunError: if its spaces are not those of the environment.
    """

    def __init__(self, model: Any, observation: ObservationSpec, action: ActionSpec) -> None:
        self.model = model
        self.action = action
        self._key = _entry_for(model.observation_space, observation)
        _check_action(model.action_space, action)

    def initial(self, n: int, seeds: Sequence[int] | None = None) -> int:
        """Models have no memory: the state is the number of environments."""
        return n

    def act(
        self,
        obs: Mapping[str, Array | Tensor],
        state: int,
        is_first: Array | Tensor,
        *,
        explore: bool = False,
        mode: Mode = "mode",
    ) -> tuple[Array, int]:
        """Entries (n, *shape) -> (n, A) in [-1, 1] or one-hot; the likeliest actions with `mode="mode"`, else drawn
        from torch's global generator, as the library does it."""
        seen = {key: np.asarray(value) for key, value in obs.items()}
        shown = seen if self._key is None else seen[self._key]
        chosen, _ = self.model.predict(shown, deterministic=mode == "mode" and not explore)
        return self._standard(np.asarray(chosen)), state

    def _standard(self, chosen: Array) -> Array:
        """(n,) indices or (n, *shape) within the model's bounds -> (n, A)."""
        space = self.model.action_space
        if self.action.is_discrete:
            one_hot: Array = np.eye(self.action.size, dtype=np.float32)[chosen.reshape(-1) - int(space.start)]
            return one_hot
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        share = (chosen.reshape(len(chosen), -1) - low) / (high - low)  # (n, A) in [0, 1]
        scaled: Array = (2.0 * share - 1.0).clip(-1.0, 1.0).astype(np.float32)
        return scaled


def load_model(path: Path, algorithm: str, *, trust_pickle: bool = False) -> Any:
    """Read a model that `model.save` wrote. The file holds pickled objects, so reading it runs whatever code is in it.

    Args:
        path: a `.zip` file.
        algorithm: the name of its class in Stable-Baselines3, in any case.
        trust_pickle: the caller knows where the file comes from, and lets it run code.

    Raises:
        RunError: without `trust_pickle`; if Stable-Baselines3 is not installed, has no such class, or cannot read it.
    """
    if not path.is_file():
        raise RunError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}: give the .zip that `model.save` wrote"
        )
    if not trust_pickle:
        raise RunError(
            f"{path} is not read: a model of Stable-Baselines3 holds pickled objects, so reading it runs any code that "
            "its author put there\n"
            "    fix: if you made it yourself or trust who did, add --trust-pickle, which lets it run code"
        )
    found = _algorithm(algorithm)
    try:
        return found.load(path, device="cpu", verbose=0)
    except Exception as error:  # what the file makes of the library, and any code in it, may raise anything
        version = importlib.metadata.version("stable-baselines3")
        raise RunError(
            f"{path} cannot be read as a {found.__name__} by Stable-Baselines3 {version}: "
            f"{type(error).__name__}: {printable(error, 200)}\n"
            "    fix: give the class that saved it as --sb3, and the version of the library that it was saved with"
        ) from error


def _algorithm(name: str) -> Any:
    """The class of that name.

    Raises:
        RunError: if there is none.
    """
    try:
        library = importlib.import_module(LIBRARY)
        base: type = importlib.import_module(f"{LIBRARY}.common.base_class").BaseAlgorithm
    except ImportError as error:
        raise RunError(
            f"Stable-Baselines3 cannot be imported ({printable(error, 100)})\n    fix: pip install stable-baselines3"
        ) from error
    known = {
        key.lower(): found for key, found in vars(library).items() if isinstance(found, type) and found is not base
    }
    known = {key: found for key, found in known.items() if issubclass(found, base)}
    if name.lower() not in known:
        hint = suggest(name.lower(), known)
        raise RunError(
            f"Stable-Baselines3 has no algorithm {printable(name)!r}" + (f" ({hint})" if hint else "") + "\n"
            f"    fix: give one of {', '.join(sorted(known))} as --sb3"
        )
    return known[name.lower()]


def _entry_for(space: Any, observation: ObservationSpec) -> str | None:
    """The entry that a model reads; None for one that reads a dictionary of entries.

    Raises:
        RunError: if the environment does not show what it reads.
    """
    if isinstance(space, gym.spaces.Dict):
        lacking = [key for key, part in space.spaces.items() if not _fits(part, observation.get(key))]
        if lacking:
            raise _OtherSpaces("observations", space, _shapes(observation))
        return None
    fitting = [key for key, spec in observation.items() if _fits(space, spec)]
    if len(fitting) != 1:
        raise _OtherSpaces("observations", space, _shapes(observation))
    return fitting[0]


def _fits(space: Any, spec: ArraySpec | None) -> bool:
    """Pictures may be meant with their channels first: the library turns them round by itself."""
    return isinstance(space, gym.spaces.Box) and spec is not None and space.shape in (spec.shape, spec.model_shape)


def _check_action(space: Any, action: ActionSpec) -> None:
    if action.is_discrete:
        good = isinstance(space, gym.spaces.Discrete) and int(space.n) == action.size
    else:
        good = isinstance(space, gym.spaces.Box) and int(np.prod(space.shape)) == action.size and space.is_bounded()
    if not good:
        raise _OtherSpaces("actions", space, f"{action.kind}, {action.size}")


class _OtherSpaces(RunError):
    def __init__(self, what: str, space: Any, theirs: str) -> None:
        mine = printable(space, 120)
        super().__init__(
            f"this model has other {what} than the environment: {mine}, not {theirs}\n"
            "    fix: name the environment that it was trained in, with the same keys (env=..., env.hide=... and so on)"
        )


def _shapes(observation: ObservationSpec) -> str:
    return ", ".join(f"{key} {spec.dtype} {spec.shape}" for key, spec in observation.items())


def open_model(
    path: Path, algorithm: str, observation: ObservationSpec, action: ActionSpec, *, trust_pickle: bool = False
) -> ModelPolicy:
    """`load_model`, ready to act in an environment.

    Raises:
        RunError: as `load_model` and `ModelPolicy`.
    """
    model = load_model(path, algorithm, trust_pickle=trust_pickle)
    try:
        return ModelPolicy(model, observation, action)
    except ReverieError as error:
        raise RunError(f"{path}: {error}") from error
