"""A user's own Lightning callbacks: their state is part of our checkpoints, and what they stop is saved."""

from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import Timer

from reverie.training.callbacks import CallbackStates, NotPlain, plain_copy
from reverie.training.checkpoint import checkpoint_of
from reverie.training.checkpoint.packing import write_plain
from reverie.training.checkpoint.plain import read_plain
from reverie.training.run import resume, train
from reverie.training.run_folder import read_status

from .conftest import differences, final_state

Make = Callable[..., Any]
OFTEN = "checkpoints.ticks=5"


class Follower(Callback):
    """Remembers a number, a tensor and the last ticks; fails or stops the training at a tick of its choice."""

    def __init__(self, fail: int = -1, stop: int = -1) -> None:
        self.fail, self.stop = fail, stop
        self.seen = 0
        self.average = torch.zeros(2)
        self.last: list[int] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        ticks = module.counters.ticks
        self.seen += 1
        self.average.mul_(0.9).add_(0.1 * ticks)
        self.last = [*self.last[-2:], ticks]
        if ticks == self.fail:
            raise ZeroDivisionError("of the callback")
        trainer.should_stop = trainer.should_stop or ticks == self.stop

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "average": self.average, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen, self.average, self.last = state_dict["seen"], state_dict["average"], state_dict["last"]


def same(one: Follower, other: Follower) -> bool:
    return (one.seen, one.last) == (other.seen, other.last) and torch.equal(one.average, other.average)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Make) -> tuple[Path, Follower]:
    """A run that nobody disturbed, with its callback."""
    watched = Follower()
    run = tmp_path_factory.mktemp("alone") / "run"
    train(tiny_recipe(OFTEN), run_dir=run, callbacks=[watched], progress=False)
    return run, watched


def test_a_callback_goes_on_where_the_checkpoint_was(
    tmp_path: Path, tiny_recipe: Make, alone: tuple[Path, Follower], capfd: pytest.CaptureFixture[str]
) -> None:
    """A run that failed, was resumed without its callback, and then with it."""
    run = tmp_path / "run"
    first, again = Follower(fail=33), Follower()
    with pytest.raises(ZeroDivisionError):
        train(tiny_recipe(OFTEN), run_dir=run, callbacks=[first], progress=False)
    assert first.seen == 33
    assert checkpoint_of(run).counters["ticks"] == 30

    class Stop(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            trainer.should_stop = True

    assert resume(run, callbacks=[Stop()], progress=False).status == "interrupted"
    assert "the callback Follower is not here: its state is kept, but nothing uses it" in capfd.readouterr().out
    skipped = checkpoint_of(run).counters["ticks"] - 30
    assert resume(run, callbacks=[again], progress=False).status == "completed"
    assert again.seen == alone[1].seen - skipped
    assert again.last == alone[1].last
    found, expected = final_state(run), final_state(alone[0])
    assert expected["own"].pop("callbacks")["Follower"]["seen"] == alone[1].seen
    found["own"].pop("callbacks")
    assert differences(expected, found) == []


def test_a_callback_that_stops_the_training_loses_nothing(
    tmp_path: Path, tiny_recipe: Make, alone: tuple[Path, Follower]
) -> None:
    run = tmp_path / "run"
    result = train(tiny_recipe(OFTEN), run_dir=run, callbacks=[Follower(stop=33)], progress=False)
    assert (result.status, result.exit_code) == ("interrupted", 0)
    assert checkpoint_of(run).counters["ticks"] == 33
    status = read_status(run)
    assert (status["status"], status["reason"]) == ("interrupted", "a callback stopped the training")
    again = Follower()
    assert resume(run, callbacks=[again], progress=False).status == "completed"
    assert same(again, alone[1])
    assert differences(final_state(alone[0]), final_state(run)) == []


def test_unmodified_callbacks_of_lightning_are_saved(tmp_path: Path, tiny_recipe: Make) -> None:
    run = tmp_path / "run"
    train(tiny_recipe(), run_dir=run, callbacks=[Timer(), Follower(stop=20)], progress=False)
    timer = Timer()
    resume(run, callbacks=[timer], progress=False)
    saved = checkpoint_of(run).plain("process-0.pt")["callbacks"]
    assert saved.keys() == {"Timer", "Follower"}
    assert saved["Timer"]["time_elapsed"]["train"] == pytest.approx(timer.time_elapsed("train"), abs=5)


class Odd(Callback):
    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"rate": 1, "inner": [self.value]}


@pytest.mark.parametrize("value", [np.float64(1), np.zeros(2), deque([1]), {1, 2}, object(), Path("x")])
def test_what_would_be_a_pickle_is_left_out_and_told_once(value: Any) -> None:
    said: list[str] = []
    states = CallbackStates(said.append)
    for _ in range(2):
        assert states.capture([Odd(value), Follower()]).keys() == {"Follower"}
    (line,) = said
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    assert line.startswith("the state of the callback Odd is not saved, it begins anew when the run is resumed: ")
    assert line.endswith(f"state_dict()['inner'][0] is a {kind}, which is no plain value")


def test_whatever_is_saved_can_be_read(tmp_path: Path) -> None:
    """Values that share memory or are views would be refused by the reader, which measures them."""
    shared = [0] * 10
    state = {
        "views": torch.zeros(1).expand(10_000),
        "shared": [shared] * 50,
        "kept": (1, 2.5, None, True, "text", b"bytes", torch.float16, OrderedDict(a=torch.nn.Parameter(torch.ones(2)))),
        3: float("inf"),
    }
    write_plain(tmp_path / "x.pt", plain_copy(state))
    found = read_plain(tmp_path / "x.pt")
    assert torch.equal(found["views"], state["views"])
    assert (found["shared"], found[3], found["kept"][:7]) == (state["shared"], float("inf"), state["kept"][:7])
    assert torch.equal(found["kept"][7]["a"], torch.ones(2))
    inside: list[Any] = []
    inside.append(inside)
    with pytest.raises(NotPlain, match="nested deeper than 32 levels"):
        plain_copy(inside)


def test_a_state_that_was_saved_does_not_change_with_its_callback() -> None:
    watched = Follower()
    saved = CallbackStates(print).capture([watched])
    watched.average.add_(1)
    watched.last.append(7)
    assert saved["Follower"]["average"].tolist() == [0, 0]
    assert saved["Follower"]["last"] == []
