"""What children of the nursery do to runs. Functions take plain data, and what they return is the child's answer."""

import ctypes
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from families import FAMILIES
from pytorch_lightning import Callback
from stumbles import PLUGIN, stumbling_recipe

from reverie import api
from reverie.cli.main import run as command
from reverie.training.durable import Operation, watched
from reverie.training.run import resume as resume_run
from reverie.training.run import train


class DieAfter(Callback):
    """SIGKILL at the end of a tick."""

    def __init__(self, ticks: int) -> None:
        self.ticks = ticks

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.counters.ticks == self.ticks:
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(run: str, overrides: list[str], ticks: int) -> None:
    """Train in environments that stumble, and be killed."""
    train(stumbling_recipe(*overrides), run_dir=run, callbacks=[DieAfter(ticks)], progress=False)


def train_stumbling(run: str, overrides: list[str], notes: str) -> None:
    """Train in environments that stumble, and write down the worker processes."""
    import reverie.training.workers as workers

    start = workers.InWorker.__init__

    def noted(self: Any, *arguments: Any) -> None:
        start(self, *arguments)
        with open(notes, "a") as file:
            file.write(f"{self.process.pid}\n")

    workers.InWorker.__init__ = noted  # type: ignore[method-assign]
    train(stumbling_recipe(*overrides), run_dir=run, progress=False)


def resume(run: str) -> str:
    """Resume, with the plugins of these tests."""
    return api.resume(run, plugin_files=[PLUGIN]).status


# Runs of the families.


def begin(family: str, run: str, overrides: list[str]) -> int:
    """Train a family's recipe; the exit code."""
    return train(FAMILIES[family].prepared(*overrides), run_dir=run, progress=False).exit_code


def go_on(family: str, run: str, overrides: list[str]) -> int:
    """Resume it, or begin anew where it was killed before there was anything to resume; the exit code."""
    if not (Path(run) / "recipe.lock.yaml").exists():
        return begin(family, run, overrides)
    from reverie.extension.manager import load_plugins

    return resume_run(run, plugins=load_plugins(files=FAMILIES[family].plugins), progress=False).exit_code


def operations(family: str, run: str, overrides: list[str]) -> list[tuple[str, str]]:
    """Train; the kind and place of every change that was made to the folder."""
    seen: list[tuple[str, str]] = []
    with watched(lambda operation: seen.append((operation.kind, os.path.relpath(operation.path, run)))):
        begin(family, run, overrides)
    return seen


def die_at_operation(family: str, run: str, overrides: list[str], number: int) -> None:
    """Train, and be killed before the change of that number; where it is the end of a write, in the middle of it."""
    count, last = 0, None

    def count_down(operation: Operation) -> None:
        nonlocal count, last
        if count == number:
            if operation.kind == "sync" and last == ("write", operation.path):
                os.truncate(operation.path, operation.path.stat().st_size // 2)
            if operation.kind == "append":
                with operation.path.open("ab") as file:
                    file.write(operation.content[: len(operation.content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        count, last = count + 1, (operation.kind, operation.path)

    with watched(count_down):
        begin(family, run, overrides)


# Places in a run.


def _collected(policy: str) -> Callable[[int], None]:
    """At the `times`-th vector step with this policy: taken, and not yet recorded."""
    from reverie.training.collector import Collector

    def arm(times: int, act: Callable[[], None]) -> None:
        step = Collector._step

        def counted(self: Any, who: str, report: Any) -> None:
            nonlocal times
            times -= who == policy
            if times == 0 and who == policy:
                environments, record = self.environments, self._record
                self._record = lambda *_: (act(), setattr(self, "_record", record), record(*_))[2]
                assert environments.begun
            step(self, who, report)

        Collector._step = counted  # type: ignore[method-assign]

    return arm


def _called(module: str, owner: str, name: str, after: bool = False) -> Callable[..., None]:
    """At the `times`-th call of a method."""

    def arm(times: int, act: Callable[[], None]) -> None:
        import importlib

        found = getattr(importlib.import_module(module), owner)
        method = getattr(found, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal times
            times -= 1
            if times == 0 and not after:
                act()
            answer = method(*arguments, **options)
            if times == 0 and after:
                act()
            return answer

        setattr(found, name, counted)

    return arm


PLACES: dict[str, tuple[Callable[..., None], int]] = {
    "prefill": (_collected("random"), 7),
    "collection": (_collected("planner"), 5),
    "planning": (_called("reverie.assembly.imagination", "Imagination", "score"), 3),
    "update": (_called("reverie.training.updates", "GradientUpdates", "_learn", after=True), 4),
    "middle of an update": (_called("reverie.training.updates", "GradientUpdates", "_clipped", after=True), 6),
    "evaluation": (_called("reverie.evaluation.episodes", "_Table", "_step"), 4),
    "before a border": (_called("reverie.training.stages", "StageCursor", "advance"), 1),
    "after a border": (_called("reverie.training.stages", "StageCursor", "advance", after=True), 1),
    "generation": (_called("reverie.training.rollouts", "CountedRollouts", "rollout", after=True), 3),
    "saving": (_called("reverie.training.checkpoint.writer", "CheckpointWriter", "write"), 2),
    "beginning": (_called("reverie.training.run_folder", "RunFolder", "install", after=True), 1),
    "restoring": (_called("reverie.training.collector", "Collector", "restore"), 1),
}
"""Where a run can be hit: name to what arms it, and at which time."""


def _hit(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def hit_in(family: str, run: str, overrides: list[str], place: str, numbers: list[int]) -> int:
    """Begin or go on, and get signals in that place; the exit code."""
    arm, times = PLACES[place]
    arm(times, partial(_hit, *numbers))
    return go_on(family, run, overrides)


# Trouble with the folder.


def small_files(run: str) -> None:
    """No file may grow beyond a few blocks, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def full(run: str) -> None:
    """Take all the room that is left on the disk that the run lies on."""
    with (Path(run).parent / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def read_only(run: str) -> None:
    for folder in (Path(run), *(path for path in Path(run).rglob("*") if path.is_dir())):
        folder.chmod(0o555)


def vanished(run: str) -> None:
    shutil.rmtree(run)


def unwritable_table(run: str) -> None:
    (Path(run) / "metrics" / "metrics.csv").chmod(0o444)
    (Path(run) / "metrics").chmod(0o555)


def no_tensorboard(run: str) -> None:
    (Path(run) / "metrics" / "tensorboard").write_text("in the way")


def another_process(run: str) -> None:
    """A second command in the same folder, in a process of its own; what it says goes to the same place."""
    for arguments in (["resume", run], ["train", "dreamer", f"run_dir={run}"], ["export", run, f"{run}.zip"]):
        child = os.fork()
        if child == 0:
            code = command(arguments)
            sys.stdout.flush()
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


TROUBLES = {
    deed.__name__: deed
    for deed in (small_files, full, read_only, vanished, unwritable_table, no_tensorboard, another_process)
}


def give_up_capabilities() -> None:
    """Root may write where nobody may; without its capabilities it is like anybody else who owns its files."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Sets(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header, nothing = Header(0x20080522, 0), (Sets * 2)()
    assert ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), nothing) == 0, ctypes.get_errno()


def command_in_trouble(arguments: list[str], run: str, trouble: str, place: str = "saving", times: int = 3) -> int:
    """A command of the command line, with trouble in the middle of it; its exit code.

    Args:
        arguments: of `reverie`.
        run: the folder that the trouble is with.
        trouble: one of `TROUBLES`.
        place, times: when it comes.
    """
    give_up_capabilities()
    PLACES[place][0](times, partial(TROUBLES[trouble], run))
    return command(arguments)
