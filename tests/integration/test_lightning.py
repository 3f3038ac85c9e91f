"""Lightning does what it is for: unmodified callbacks, loggers and precision plugins work, and it leaves no litter."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
from pytorch_lightning.loggers import CSVLogger

from reverie.assembly.build import build_agent, build_environment, build_learners
from reverie.errors import RecipeError
from reverie.training.checkpoint import checkpoint_of
from reverie.training.data import OnlineData
from reverie.training.module import AgentModule
from reverie.training.run import train

from .conftest import rows_of

Make = Callable[..., Any]


class Watch(Callback):
    """Counts hooks and remembers what other callbacks can see."""

    def __init__(self) -> None:
        self.optimizer_steps = 0
        self.backwards = 0
        self.metrics: set[str] = set()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.optimizer_steps += 1

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.backwards += 1

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.metrics |= set(trainer.callback_metrics)


def test_unmodified_callbacks_and_loggers(tmp_path: Path, tiny_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    watch, timer = Watch(), Timer()
    saver = ModelCheckpoint(dirpath=tmp_path / "lightning", every_n_train_steps=1, save_on_train_epoch_end=True)
    logger = CSVLogger(tmp_path / "csv", name="", version="")
    result = train(
        tiny_recipe("logging.tensorboard=true"),
        run_dir=tmp_path / "run",
        callbacks=[watch, timer, saver, LearningRateMonitor()],
        loggers=[logger],
        progress=False,
    )
    updates = checkpoint_of(result.run_dir).counters["updates"]
    assert updates == 20  # 40 decisions x ratio 6 / (2 x 6)
    assert watch.backwards == 2 * updates  # the world model, and then behaviour in the average of its weights
    assert watch.optimizer_steps == 4 * updates  # matrices of the model and the rest of it, actor, critic
    assert {"model/grad_norm", "eval/return", "train/return"} <= watch.metrics
    assert timer.time_elapsed("train") > 0
    assert list((tmp_path / "lightning").glob("*.ckpt"))
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
        logged = [row for row in csv.DictReader(file) if row.get("eval/return")]
    ours = [row for row in rows_of(result.run_dir) if row["eval/return"]]
    assert [row["step"] for row in logged] == [row["env_steps"] for row in ours]
    assert [float(row["eval/return"]) for row in logged] == [float(row["eval/return"]) for row in ours]
    assert list((result.run_dir / "metrics" / "tensorboard").glob("events.*"))
    assert not (tmp_path / "lightning_logs").exists()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", torch.float32), ("64-true", torch.float64), ("bf16-true", torch.bfloat16)]
)
def test_unmodified_precision_plugins(tmp_path: Path, tiny_recipe: Make, precision: str, dtype: torch.dtype) -> None:
    seen = []

    class Look(Callback):
        def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
            seen.append(torch.is_autocast_enabled("cpu"))

    still = ["learners.model.average=null", "learners.behaviour.slow_rate=1"] if precision == "bf16-true" else []
    recipe = tiny_recipe(f"trainer.precision={precision}", "stages.1.until.env_steps=10", *still)
    result = train(recipe, run_dir=tmp_path / "run", callbacks=[Look()], progress=False)
    state = checkpoint_of(result.run_dir).agent_state()
    weight = next(value for name, value in state.items() if name.startswith("dynamics") and value.is_floating_point())
    assert weight.dtype == dtype
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    assert set(seen) == {precision == "bf16-mixed"}


def test_it_is_silent(tmp_path: Path, tiny_recipe: Make, capfd: pytest.CaptureFixture[str]) -> None:
    train(tiny_recipe("stages.1.until.env_steps=10"), run_dir=tmp_path / "run", progress=False)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_what_breaks_our_accounts_is_refused(
    tmp_path: Path, tiny_recipe: Make, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe()
    factory = build_environment(recipe)
    agent = build_agent(recipe, factory.observation, factory.action)
    module = AgentModule(agent, build_learners(recipe, agent), recipe.settings)
    # Lightning turns 16-mixed into bf16-mixed on a CPU: say that it did not.
    monkeypatch.setattr(Trainer, "precision", property(lambda trainer: precision))
    steps = 5 if precision == "32-true" else -1
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_steps=steps
    )
    data = OnlineData(recipe.settings, agent, factory, tmp_path / "replay")
    try:
        with pytest.raises(RecipeError, match="16-mixed" if precision == "16-mixed" else "max_steps"):
            trainer.fit(module, datamodule=data)
    finally:
        data.close()


def test_a_recipe_cannot_ask_for_16_mixed(tiny_recipe: Make) -> None:
    with pytest.raises(RecipeError, match="precision"):
        tiny_recipe("trainer.precision=16-mixed")
