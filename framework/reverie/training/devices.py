"""Which device a recipe or a command line asks for, and whether it is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from reverie.errors import Problem, RecipeError

if TYPE_CHECKING:
    from reverie.recipes.schema import TrainerOptions

ACCELERATORS = ("cpu", "gpu", "cuda", "auto")
"""What may be asked for. Apple's `mps` is not among them: it knows no numbers of double precision, in which statistics
of observations and sums of losses are kept."""


def accelerator(name: str) -> Literal["cpu", "cuda"]:
    """Lightning's word for what `cpu`, `gpu`, `cuda` or `auto` (a GPU where there is one) means here."""
    wanted = name in ("gpu", "cuda") or (name == "auto" and torch.cuda.is_available())
    return "cuda" if wanted else "cpu"


def require_devices(options: TrainerOptions, *, resuming: bool = False) -> None:
    """Refuse a recipe whose devices are not here, before anything is made.

    Args:
        options: of the recipe.
        resuming: the fix is one that `reverie resume` takes: another accelerator, and no other number of processes.

    Raises:
        RecipeError: saying what torch finds, and what to write instead.
    """
    if accelerator(options.accelerator) == "cpu":
        return
    key = "trainer.accelerator"
    word = "--accelerator " if resuming else f"{key}="
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not found:
        raise RecipeError(
            [
                Problem(
                    f"{key} is `{options.accelerator}`, and torch finds no GPU here",
                    key=key,
                    why=_why_none(),
                    fix=f"{word}cpu, or {word}auto, which takes a GPU only where there is one",
                )
            ]
        )
    if options.devices > found:
        raise RecipeError(
            [
                Problem(
                    f"trainer.devices is {options.devices}, and torch finds {found} GPU{'s' if found > 1 else ''} here",
                    key="trainer.devices",
                    why="a run goes on with as many processes as it began with" if resuming else "",
                    fix=f"--accelerator cpu, or {options.devices} GPUs" if resuming else f"trainer.devices={found}",
                )
            ]
        )


def refuse_unknown(name: str) -> None:
    """Refuse a word that is no accelerator.

    Raises:
        RecipeError: with those that there are.
    """
    if name not in ACCELERATORS:
        fix = f"one of {', '.join(ACCELERATORS)}"
        raise RecipeError([Problem(f"there is no accelerator `{name}`", key="accelerator", fix=fix)])


def device(name: str) -> torch.device:
    """The device of this process for `cpu`, `gpu`, `cuda` or `auto`.

    Raises:
        RecipeError: if it is not here, or for another word.
    """
    refuse_unknown(name)
    if accelerator(name) == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        fix = "cpu, or auto, which takes a GPU only where there is one"
        raise RecipeError(
            [Problem(f"accelerator is `{name}`, and torch finds no GPU here", "", "accelerator", _why_none(), fix)]
        )
    return torch.device("cuda", torch.cuda.current_device())


def _why_none() -> str:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) was built without CUDA"
    return f"torch {torch.__version__} was built for CUDA {torch.version.cuda}; `nvidia-smi` says what the driver sees"
