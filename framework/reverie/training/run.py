"""A run from its recipe to its end: `train` begins one, `resume` goes on with one."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.assembly.probe import probe
from reverie.errors import RecipeError, ReverieError, RunError
from reverie.recipes.locate import printable
from reverie.recipes.lock import write_lock
from reverie.recipes.prepare import prepare
from reverie.recipes.recipe import Recipe
from reverie.training import devices
from reverie.training.checkpoint import list_checkpoints
from reverie.training.durable import free_bytes
from reverie.training.faults import Tolerance
from reverie.training.memory import keep_freed_memory
from reverie.training.offline import Recorded, surveyed
from reverie.training.progress import RunProgress
from reverie.training.quiet import quiet_lightning
from reverie.training.run_folder import RunFolder, default_path
from reverie.training.signals import StopFlag

if TYPE_CHECKING:
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.loggers import Logger

    from reverie.extension.manager import Plugins
    from reverie.training.keeper import Keeper

RUN_DIR = "REVERIE_RUN_DIR"
"""Tells the other processes of a distributed run which folder the first one made."""


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors that are the disk's, whichever file they name."""

_MISFIT = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError
)  # fmt: skip
"""What values of the right form, but of another run, make of the code that meets them first."""

_DISTRIBUTED = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""What Lightning sets for the processes that it starts."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        run_dir: its folder.
        status: `completed` or `interrupted`.
        exit_code: 0, or 130 and 143 after a signal.
    """

    run_dir: Path
    status: str
    exit_code: int = 0


def train(
    recipe: Recipe,
    *,
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    progress: bool = True,
) -> RunResult:
    """Train a recipe in a new run folder.

    Args:
        recipe: from `prepare`.
        run_dir: the folder; the recipe's own, or `runs/<recipe>-<env>-<time>`, by default.
        callbacks: Lightning callbacks, beside those of plugins.
        loggers: Lightning loggers, beside the table and TensorBoard.
        progress: show it.

    Raises:
        RecipeError: with all problems that the probe finds, for a GPU that is not here, or what is wrong with
            recorded data.
        RunError: if the folder exists already, or cannot be written.
        EnvironmentFault, NumericalFault: from training; the last checkpoint stays good.
    """
    devices.require_devices(recipe.settings.trainer)
    recipe = surveyed(recipe)
    folder = _new_folder(recipe, run_dir)
    return _guarded(recipe, folder, False, callbacks, loggers, progress)


def resume(
    run: str | Path,
    *,
    accelerator: str | None = None,
    plugins: Plugins | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    progress: bool = True,
) -> RunResult:
    """Go on with a run where its newest whole checkpoint is; harmless for a run that is complete.

    Args:
        run: the folder.
        accelerator: go on there instead of where the recipe says: a run may change between CPU and GPU.
        plugins, callbacks, loggers, progress: as for `train`.

    Raises:
        RunError: if there is no such run, somebody works in it, or no checkpoint can be used.
        RecipeError: for a GPU that is not here, or a word that is no accelerator.
    """
    if accelerator is not None:
        devices.refuse_unknown(accelerator)
    folder = RunFolder.open(Path(run))
    if folder.status().get("status") == "completed":
        return RunResult(folder.path, "completed")
    recipe = prepare(folder.recipe, [f"trainer.accelerator={accelerator}"] if accelerator else [], plugins=plugins)
    devices.require_devices(recipe.settings.trainer, resuming=True)
    if process_rank() == 0:
        folder.lock()
    return _guarded(recipe, folder, True, callbacks, loggers, progress)


def process_rank() -> int:
    """Of this process among those that Lightning or torchrun started, before anything is connected."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))


def _new_folder(recipe: Recipe, run_dir: str | Path | None) -> RunFolder:
    if process_rank() != 0:
        known = os.environ.get(RUN_DIR) or run_dir or recipe.settings.run_dir
        if not known:
            raise RunError("several processes need one folder: give `run_dir=`")
        return RunFolder(Path(known))
    check(recipe)
    environment = recipe.choice("env") or recipe.choice("data")
    name = environment.name if environment else "run"
    path = Path(run_dir or recipe.settings.run_dir or default_path(recipe.name, _environment_name(recipe, name)))
    folder = RunFolder.create(path)
    folder.lock()
    folder.refuse_another()  # that began between the look and the lock
    folder.install(lambda staged: write_lock(recipe, staged))
    folder.set_status("running")
    return folder


def _environment_name(recipe: Recipe, fallback: str) -> str:
    """The environment's id where its options have one."""
    choice = recipe.choice("env")
    return str(getattr(choice.config, "id", fallback)) if choice else fallback


def check(recipe: Recipe) -> None:
    """Everything that can be found out before a run folder is made: one synthetic batch through every part.

    Raises:
        RecipeError: with all problems.
    """
    if recipe.choice("external") is not None:
        return
    _seed(recipe.settings.seed)
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    problems = probe(recipe, agent, build_learners(recipe, agent))
    if problems:
        raise RecipeError(problems)


def _guarded(
    recipe: Recipe,
    folder: RunFolder,
    resuming: bool,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    progress: bool,
) -> RunResult:
    """Run, and leave behind a status that says how it ended."""
    stop = StopFlag(lambda: folder.set_status("interrupted", "a second Ctrl-C"))
    stop.install()
    first = process_rank() == 0
    try:
        if recipe.choice("external") is not None:
            from reverie.training.external import fit_external

            status = fit_external(recipe, folder, stop, print if progress else _silent)
        else:
            status = _fit(recipe, folder, resuming, stop, callbacks, loggers, progress)
        if first:
            reason = stop.reason if stop() else "a callback stopped the training"
            folder.set_status(status, reason if status == "interrupted" else "", **_facts(folder))
    except BaseException as error:
        told = _of_the_disk(error, folder) or error
        reason = str(told) if isinstance(told, ReverieError) else f"{type(told).__name__}: {told}"
        if first:
            with suppress(RunError):  # a full disk must not hide what happened
                folder.set_status("failed", reason, **_facts(folder))
        if told is error:
            raise
        raise told from error
    finally:
        stop.uninstall()
        folder.unlock()
    # Lightning takes another exit code of the other processes for a crash.
    return RunResult(folder.path, status, stop.exit_code if status == "interrupted" and first else 0)


def _facts(folder: RunFolder) -> dict[str, Any]:
    """How far the run was when its status was written last."""
    return {key: value for key, value in folder.status().items() if key not in ("status", "reason", "pid", "updated")}


def _of_the_disk(error: BaseException, folder: RunFolder) -> RunError | None:
    """What to tell a person about a run folder that can no longer be written; None for every other error."""
    if not isinstance(error, OSError):
        return None
    inside = str(folder.path.absolute()) in str(Path(str(error.filename)).absolute())
    if error.errno not in _DISK and not inside:
        return None
    what = "has vanished" if not folder.path.is_dir() else f"cannot be written ({free_bytes(folder.path)})"
    return RunError(
        f"the run folder {folder.path} {what}: {error}. Its last checkpoint stays as it is: mend this, then "
        f"`reverie resume {folder.path}`"
    )


def _fit(
    recipe: Recipe,
    folder: RunFolder,
    resuming: bool,
    stop: StopFlag,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    progress: bool,
) -> str:
    from reverie.training.data import OnlineData
    from reverie.training.keeper import Keeper
    from reverie.training.module import AgentModule

    settings = recipe.settings
    if settings.trainer.threads is not None:
        torch.set_num_threads(settings.trainer.threads)
    keep_freed_memory()
    _seed(settings.seed)
    factory = build_environment(recipe)
    # The first checkpoint of a run holds the weights that it took from others: those may be gone by now.
    transplants = not (resuming and list_checkpoints(folder.checkpoints))
    agent = build_agent(recipe, factory.observation, factory.action, transplants=transplants)
    module = AgentModule(agent, build_learners(recipe, agent), settings, stop)
    first = process_rank() == 0
    shown = RunProgress(f"{recipe.name} on {_environment_name(recipe, 'env')}", enabled=progress and first)
    say = shown.say if first else _silent
    tolerance = Tolerance(settings.faults, folder.faults, say)
    data = OnlineData(settings, agent, factory, folder.replay, tolerance, recorded=_recorded(recipe, folder))
    keeper = Keeper(folder, module, data, stop, resuming, say, writes=first)
    shown.keeper = keeper
    try:
        with quiet_lightning(), _together(folder, settings.trainer.devices):
            trainer = make_trainer(recipe, folder, keeper, [*callbacks, *_of_plugins(recipe), shown], loggers)
            trainer.fit(module, datamodule=data)
    except _MISFIT as error:
        if not keeper.unproven:
            raise
        raise RunError(
            f"{folder.path} cannot be gone on with: what its checkpoint holds does not work in this run "
            f"({type(error).__name__}: {printable(error, 200)}). `reverie --debug resume` shows where"
        ) from error
    finally:
        shown.close()
        data.close()
    return keeper.outcome or "interrupted"


def _recorded(recipe: Recipe, folder: RunFolder) -> Recorded | None:
    """What brings recorded data into a run; None without data."""
    return None if recipe.choice("data") is None else Recorded(recipe, folder.path)


@contextmanager
def _together(folder: RunFolder, devices: int) -> Iterator[None]:
    """Inside, the processes that Lightning starts find the run's folder; afterwards this process is alone again."""
    if devices == 1:
        yield
        return
    before = {name: os.environ.get(name) for name in (RUN_DIR, *_DISTRIBUTED)}
    os.environ[RUN_DIR] = str(folder.path.absolute())
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def make_trainer(
    recipe: Recipe, folder: RunFolder, keeper: Keeper, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> Trainer:
    """Lightning's trainer, told to leave alone what we do ourselves: checkpoints, counting, display."""
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import Checkpoint
    from pytorch_lightning.strategies import DDPStrategy

    settings = recipe.settings
    options = settings.trainer
    own: list[Logger] = []
    if settings.logging.tensorboard:
        from pytorch_lightning.loggers import TensorBoardLogger

        own.append(TensorBoardLogger(folder.metrics, name="tensorboard", version=""))
    return Trainer(
        accelerator=devices.accelerator(options.accelerator),
        devices=options.devices,
        precision=options.precision,
        strategy=DDPStrategy(find_unused_parameters=True) if options.devices > 1 else "auto",
        logger=[*own, *loggers] or False,
        callbacks=[keeper, *callbacks],
        max_epochs=-1,
        # Ours are our own; Lightning's is on only for a callback of the user's that needs it.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder.path,
    )


def _silent(text: str) -> None:
    """Says nothing."""


def _of_plugins(recipe: Recipe) -> list[Any]:
    return [callback for found in recipe.plugins.manager.hook.reverie_callbacks(recipe=recipe) for callback in found]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
