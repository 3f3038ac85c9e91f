"""A whole run as one checkpoint, and back: what is saved, in which order, and what is done where that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback
from torch import Tensor

from reverie.contracts.learner import Counters
from reverie.errors import RunError
from reverie.training.callbacks import CallbackStates
from reverie.training.checkpoint import (
    Checkpoint,
    CheckpointFault,
    CheckpointWriter,
    list_checkpoints,
    open_checkpoint,
)
from reverie.training.checkpoint.folder import TRAINING, are_counters
from reverie.training.checkpoint.optimizers import load_optimizer
from reverie.training.checkpoint.randomness import capture, reinstate
from reverie.training.durable import free_bytes
from reverie.training.faults import require_finite
from reverie.training.replay import ReplayMark
from reverie.training.report import Report
from reverie.training.run_folder import RunFolder

if TYPE_CHECKING:
    from reverie.training.data import OnlineData
    from reverie.training.module import AgentModule

_SHARED = frozenset({"optimizers", "counters", "cursor", "report", "world"})
_OWN = frozenset({"tick", "averages", "collector", "replay", "randomness"})
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError, RuntimeError, OverflowError)


class Saver:
    """Saves and restores everything that a run needs to go on to the same numbers.

    Args:
        folder: of the run.
        module: what is trained.
        data: where experience comes from.
        report: what was written down about the run.
        say: tells a person something.
    """

    def __init__(
        self, folder: RunFolder, module: AgentModule, data: OnlineData, report: Report, say: Callable[[str], None]
    ) -> None:
        self.folder, self.module, self.data, self.report, self.say = folder, module, data, report, say
        self.writer = CheckpointWriter(folder.checkpoints, module.settings.checkpoints.keep)
        self.callbacks = CallbackStates(say)
        self._marks: dict[str, ReplayMark] = {}

    def save(self) -> None:
        """Write a checkpoint: first what it refers to (replay, tables), then itself, then old ones go.

        Raises:
            RunError: if the disk does not take it; the one before stays good.
            NumericalFault: if something in it is not finite; nothing is written then.
        """
        require_finite(self.module, self.module.raw_optimizers())
        mark = self.data.replay.flush()
        shared, own = self._shared(), self._own(mark)
        state = self.module.state_dict()
        try:
            self.report.sync()
            path = self.writer.write(state, shared, own, asdict(self.module.counters), self.module.world)
        except OSError as error:
            with suppress(OSError):
                self.writer.discard()
            root, needed = self.folder.checkpoints, bytes_of([state, shared, own])
            raise RunError(
                f"the checkpoint could not be written to {root}, it needs about {needed:,} bytes ({free_bytes(root)}): "
                f"{error.strerror or error}. The one before stays good: mend this, then `reverie resume "
                f"{self.folder.path}`"
            ) from error
        self._marks[path.name] = mark
        self._prune()

    def restore_newest(self) -> bool:
        """Walk from the newest checkpoint to the oldest until one is whole, its replay included; false if there is
        none at all, and the run begins anew.

        Raises:
            CheckpointFault: if there are checkpoints, but none can be used.
        """
        self.writer.next_path()  # or everything that is learned from here on could not be saved
        skipped = []
        for path in list_checkpoints(self.folder.checkpoints):
            try:
                checkpoint = self._whole(path)
                fault = None
            except RunError as error:
                fault = error
            if not self.module.world.any(fault is not None):
                try:
                    self._restore(checkpoint)
                except CheckpointFault as error:
                    fault = error
                if not self.module.world.any(fault is not None):
                    return True
            skipped.append(f"skipped {path.name}: {fault or 'another process cannot use its part'}")
            self.say(skipped[-1])
        if skipped:
            raise CheckpointFault(f"no checkpoint of {self.folder.path} can be used\n" + "\n".join(skipped))
        self.data.replay.restore(ReplayMark((), 0, self.data.replay.streams))
        self.report.reset()
        return False

    def _shared(self) -> dict[str, Any]:
        """What is the same in every process."""
        module = self.module
        return {
            "optimizers": [optimizer.state_dict() for optimizer in module.raw_optimizers()],
            "counters": asdict(module.counters),
            "cursor": module.cursor.state(),
            "report": self.report.state(),
            "world": module.world.size,
        }

    def _own(self, mark: ReplayMark) -> dict[str, Any]:
        """What belongs to this process alone."""
        return {
            "tick": self.module.ticker.state(),
            "averages": self.module.averages.state(),
            "collector": self.data.collector.state(),
            "replay": mark.to_dict(),
            "randomness": capture(),
            "faults": self.data.tolerance.state(),
            "callbacks": self.callbacks.capture(self._theirs),
        }

    def _prune(self) -> None:
        """Old checkpoints go, and then the replay files that none of the others needs. A disk that does not let them
        go is no reason to stop."""
        try:
            if self.module.world.first:
                self.writer.prune()
        except OSError as error:
            self.say(f"old checkpoints could not be removed from {self.folder.checkpoints}: {error.strerror or error}")
        self.module.world.barrier()
        kept = {path.name: path for path in list_checkpoints(self.folder.checkpoints)}
        for name, path in kept.items():
            if name not in self._marks:
                try:
                    self._marks[name] = ReplayMark.from_dict(self._parts(open_checkpoint(path))[1]["replay"])
                except RunError as fault:
                    self.say(f"nothing of the replay is pruned while {name} cannot be read: {fault}")
                    return
        self._marks = {name: mark for name, mark in self._marks.items() if name in kept}
        try:
            self.data.replay.prune(self._marks.values())
        except OSError as error:
            self.say(f"old replay files could not be removed from {self.folder.replay}: {error.strerror or error}")

    @property
    def _theirs(self) -> list[Callback]:
        """The callbacks of this training; ours have no state."""
        found: list[Callback] = self.module.trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it later
        return found

    @property
    def _own_file(self) -> str:
        return f"process-{self.module.world.rank}.pt"

    def _parts(self, checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Any]]:
        """What all processes share, and what is this one's own.

        Raises:
            CheckpointFault: naming the file that does not hold it.
        """
        found = []
        for file, expected in ((TRAINING, _SHARED), (self._own_file, _OWN)):
            part = checkpoint.plain(file)
            if not isinstance(part, dict) or not expected <= part.keys():
                raise CheckpointFault(f"{checkpoint.path / file} does not hold {', '.join(sorted(expected))}")
            found.append(part)
        return found[0], found[1]

    def _whole(self, path: Path) -> Checkpoint:
        """A checkpoint that is whole, its replay in place.

        Raises:
            RunError: naming the file that is not.
        """
        checkpoint = open_checkpoint(path)
        mark = ReplayMark.from_dict(self._parts(checkpoint)[1]["replay"])
        restored = self.data.replay.restore(mark)
        if restored.dropped_rows:
            self.say(f"dropped {restored.dropped_rows} replay rows collected after {path.name}")
        self._marks[path.name] = mark
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint's state in place. After a fault everything is to be put in place again, from another one.

        Raises:
            CheckpointFault: for files of the right form that do not hold what this run's hold.
        """
        try:
            self._put(checkpoint, *self._parts(checkpoint))
        except _MALFORMED as error:
            what = str(error).strip().partition("\n")[0][:200]
            raise CheckpointFault(
                f"{checkpoint.path} cannot be restored, its files do not fit this run: {type(error).__name__}: {what}"
            ) from error

    def _put(self, checkpoint: Checkpoint, shared: dict[str, Any], own: dict[str, Any]) -> None:
        module = self.module
        if shared["world"] != module.world.size:
            raise RunError(f"this run was trained by {shared['world']} processes, not {module.world.size}")
        if not are_counters(shared["counters"]):
            raise ValueError("its counters are not numbers from 0 on")
        module.load_state_dict(checkpoint.module_state())
        for optimizer, state in zip(module.raw_optimizers(), shared["optimizers"], strict=True):
            load_optimizer(optimizer, state)
        for name, value in asdict(Counters(**shared["counters"])).items():
            setattr(module.counters, name, type(getattr(module.counters, name))(value))
        module.cursor.restore(shared["cursor"])
        module.averages.restore(own["averages"])
        module.ticker.restore(own["tick"])
        self.data.tolerance.restore(own.get("faults", {}))
        self.callbacks.restore(self._theirs, own.get("callbacks", {}))
        for line in self.data.collector.restore(own["collector"]):
            self.say(line)
        dropped = self.report.restore(shared["report"])
        if dropped:
            self.say(f"dropped {dropped} lines of metrics written after {checkpoint.name}")
        reinstate(own["randomness"])


def bytes_of(state: Any) -> int:
    """About how many bytes a nested state takes on disk."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(bytes_of(part) for part in state.values())
    if isinstance(state, list | tuple):
        return sum(bytes_of(part) for part in state)
    return len(state) if isinstance(state, str | bytes) else 8
