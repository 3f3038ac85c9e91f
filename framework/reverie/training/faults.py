"""What a run puts up with: environments that fail, and numbers that are not finite. Counted, written down, limited."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reverie.contracts.batch import Batch
from reverie.errors import EnvironmentFault, NumericalFault
from reverie.recipes.schema import Faults
from reverie.training.durable import make_folder, write_durably
from reverie.training.metrics import Averages

_CUT = "its open episode was cut (truncated)"


class Tolerance:
    """Decides whether a fault ends the run, and keeps what is needed to look into it.

    Args:
        settings: of the recipe.
        folder: where values that are not finite are written; None writes nothing.
        say: tells a person something.
    """

    def __init__(
        self,
        settings: Faults | None = None,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings = settings or Faults()
        self.folder = folder
        self.say = say
        self.restarts = 0
        self.drops = 0

    @property
    def drops_updates(self) -> bool:
        """Whether an update may be left out."""
        return self.settings.not_finite == "drop"

    def environment(self, fault: EnvironmentFault, consequence: str = _CUT) -> bool:
        """Go on after a fault of an environment, if the recipe says so.

        Args:
            fault: what happened.
            consequence: what is done about it, for the line that is said.

        Returns:
            Whether the environment has to be built anew; after values that are not finite a reset is enough.

        Raises:
            EnvironmentFault: the same one, with what had been put up with before, and where its values are.
        """
        if fault.evidence is None:
            limit = self.settings.max_restarts if self.settings.environment == "restart" else None
            self.restarts += self._counted(fault, limit, self.restarts, f"restarted, {consequence}", "max_restarts")
            return True
        kept = EnvironmentFault(f"{fault}; {self.keep(fault.place, fault.evidence)}", place=fault.place)
        limit = self.settings.max_drops if self.drops_updates else None
        self.drops += self._counted(kept, limit, self.drops, f"the step was dropped, {consequence}", "max_drops")
        return False

    def update(self, fault: NumericalFault, place: str, batch: Batch | None) -> None:
        """Go on after an update whose losses or gradients are not finite, if the recipe says so.

        Raises:
            NumericalFault: the same one, with where its batch is.
        """
        if batch is not None:
            fault = NumericalFault(f"{fault}; {self.keep(place, arrays_of(batch), 'the batch is')}")
        limit = self.settings.max_drops if self.drops_updates else None
        self.drops += self._counted(fault, limit, self.drops, "the update was dropped", "max_drops")

    def keep(self, name: str, arrays: Mapping[str, Any], what: str = "the values are") -> str:
        """Write arrays for those who want to look at them; says where, or why that failed."""
        if self.folder is None:
            return f"{what} not written"
        path = self.folder / f"{name}.npz"
        content = io.BytesIO()
        plain = {key: np.asarray(value) for key, value in arrays.items()}
        plain = {key: np.array(repr(value)) if value.dtype == object else value for key, value in plain.items()}
        np.savez(content, **plain)  # type: ignore[arg-type] # stubs: the flag allow_pickle shadows the arrays' type
        try:
            make_folder(self.folder)
            write_durably(path, content.getvalue())
        except OSError as error:  # must not hide the fault itself
            return f"{what} not written: {error.strerror or error}"
        return f"{what} in {path}"

    def state(self) -> dict[str, int]:
        """Plain data for a checkpoint."""
        return {"restarts": self.restarts, "drops": self.drops}

    def restore(self, state: Mapping[str, int]) -> None:
        """Undo everything since `state()`."""
        self.restarts, self.drops = int(state.get("restarts", 0)), int(state.get("drops", 0))

    def _counted(
        self, fault: EnvironmentFault | NumericalFault, limit: int | None, before: int, done: str, key: str
    ) -> int:
        """1, after saying what was done; raises the fault where the limit is reached or there is none."""
        if limit is None:
            raise fault
        if before >= limit:
            raise type(fault)(f"{fault}; this happened {before} times before, and faults.{key} is {limit}") from fault
        self.say(f"{fault}: {done} ({before + 1} of {limit})")
        return 1


class Undo:
    """Remembers what the losses of an update may change before they are known to be finite: buffers (scales, counts)
    and what was averaged for the next line of metrics."""

    def __init__(self, modules: Iterable[Any], averages: Averages) -> None:
        found = [buffer for module in modules if isinstance(module, nn.Module) for buffer in module.buffers()]
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in dict.fromkeys(found)]
        self._averages, self._before = averages, averages.state()

    def __call__(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        self._averages.restore(self._before)


def arrays_of(batch: Batch) -> dict[str, Any]:
    """A batch as arrays by name, `obs.<entry>` for observations; bfloat16, which NumPy does not know, as float32."""
    tensors = {f"obs.{name}": value for name, value in batch.obs.items()}
    tensors |= {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return {name: _float32(value.detach().cpu()).numpy() for name, value in tensors.items()}


def require_finite(module: nn.Module, optimizers: Iterable[Optimizer]) -> None:
    """Refuse to save numbers that a run could never recover from: weights and optimizer state that are not finite, and
    buffers with NaN (infinity may be a buffer's way to say "nothing yet").

    Raises:
        NumericalFault: naming the first one.
    """
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        _refuse(name, parameter, parameter.isfinite())
    for name, buffer in module.named_buffers():
        _refuse(name, buffer, ~buffer.isnan())
    names: dict[Any, str] = {parameter: name for name, parameter in parameters.items()}
    for optimizer in optimizers:
        for owner, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    _refuse(f"{names.get(owner, 'a parameter')} ({key} of its optimizer)", value, value.isfinite())


def _refuse(name: str, value: Tensor, good: Tensor) -> None:
    if not bool(good.all()):
        found = value[~good].reshape(-1)[0].item()
        raise NumericalFault(f"{name} holds {found}: such numbers are never saved, the last checkpoint stays as it is")


def _float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value
