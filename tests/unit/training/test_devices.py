"""Which device is meant, and what is said where it is not there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.cli.main import run as reverie
from reverie.errors import RecipeError
from reverie.recipes.schema import TrainerOptions
from reverie.training.checkpoint.randomness import capture, reinstate
from reverie.training.devices import accelerator, device, require_devices
from reverie.training.run import resume
from tiny_runs import TINY


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    def there_are(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)

    return there_are


def test_auto_takes_a_gpu_only_where_there_is_one(gpus: Any) -> None:
    gpus(0)
    assert [accelerator(name) for name in ("cpu", "gpu", "cuda", "auto")] == ["cpu", "cuda", "cuda", "cpu"]
    assert device("auto") == torch.device("cpu")
    gpus(1)
    assert [accelerator(name) for name in ("cpu", "gpu", "cuda", "auto")] == ["cpu", "cuda", "cuda", "cuda"]
    assert device("auto") == device("gpu") == torch.device("cuda", 0)


def test_devices_that_are_not_here_are_refused_with_a_fix(gpus: Any) -> None:
    gpus(0)
    require_devices(TrainerOptions(devices=64))  # processes on the CPU
    require_devices(TrainerOptions(accelerator="auto"))
    with pytest.raises(RecipeError) as refused:
        require_devices(TrainerOptions(accelerator="gpu"))
    (problem,) = refused.value.problems
    assert problem.key == "trainer.accelerator"
    assert problem.what == "trainer.accelerator is `gpu`, and torch finds no GPU here"
    assert f"torch ({torch.__version__})" in problem.why or "nvidia-smi" in problem.why
    assert "trainer.accelerator=cpu" in problem.fix
    with pytest.raises(RecipeError, match="accelerator is `cuda`, and torch finds no GPU here"):
        device("cuda")
    with pytest.raises(RecipeError, match="no accelerator `tpu`"):
        device("tpu")
    gpus(1)
    require_devices(TrainerOptions(accelerator="gpu"))
    with pytest.raises(RecipeError, match=r"trainer\.devices is 2, and torch finds 1 GPU here"):
        require_devices(TrainerOptions(accelerator="gpu", devices=2))


def test_the_command_line_says_it_once(gpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpus(0)
    run = tmp_path / "run"
    assert reverie(["train", "dreamer", *TINY, "trainer.accelerator=gpu", f"run_dir={run}"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("torch finds no GPU here") == 1
    assert "fix: trainer.accelerator=cpu" in said
    assert "Traceback" not in said
    assert not run.exists()


def test_an_unknown_accelerator_is_a_problem_of_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reverie(["check", "dreamer", "trainer.accelerator=mps"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "trainer.accelerator" in said
    assert "'cpu', 'gpu', 'cuda' or 'auto'" in said


def test_check_notes_what_this_machine_lacks(gpus: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be trained elsewhere: no mistake, but nobody should believe that it runs here."""
    told = ["check", "dreamer", *TINY, "trainer.accelerator=gpu"]
    for count, more, note in (
        (0, [], "torch finds no GPU here"),
        (1, ["trainer.devices=2"], "trainer.devices is 2, and torch finds 1 GPU here"),
        (1, [], ""),
    ):
        gpus(count)
        assert reverie([*told, *more]) == 0
        written = capsys.readouterr()
        assert "OK" in written.out
        assert ("note: this machine cannot train it" in written.err) == bool(note)
        assert note in " ".join(written.err.split())


def test_a_fix_of_resume_is_one_that_it_takes(gpus: Any) -> None:
    gpus(1)
    with pytest.raises(RecipeError, match=r"trainer\.devices is 4, and torch finds 1 GPU here") as refused:
        require_devices(TrainerOptions(accelerator="gpu", devices=4), resuming=True)
    (problem,) = refused.value.problems
    assert problem.fix == "--accelerator cpu, or 4 GPUs"
    require_devices(TrainerOptions(accelerator="cpu", devices=4), resuming=True)
    gpus(0)
    with pytest.raises(RecipeError) as refused:
        require_devices(TrainerOptions(accelerator="gpu"), resuming=True)
    assert refused.value.problems[0].fix.startswith("--accelerator cpu, or --accelerator auto")


def test_evaluate_and_resume_go_elsewhere(gpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was trained on a GPU is judged on the CPU, and goes on there where it is told to."""
    gpus(0)
    run = tmp_path / "run"
    assert reverie(["train", "dreamer", *TINY, f"run_dir={run}", "--no-progress"]) == 0
    assert reverie(["resume", str(run), "--accelerator", "banana"]) == 2  # though nothing is left to do
    with pytest.raises(RecipeError, match="there is no accelerator `banana`"):
        resume(run, accelerator="banana")
    assert resume(run, accelerator="cpu").status == "completed"
    lock = run / "recipe.lock.yaml"
    lock.write_text(lock.read_text().replace("accelerator: cpu", "accelerator: gpu"))
    status = run / "status.json"
    status.write_text(status.read_text().replace("completed", "interrupted"))
    capsys.readouterr()
    assert reverie(["resume", str(run)]) == 2
    assert "torch finds no GPU here" in capsys.readouterr().err
    assert reverie(["resume", str(run), "--accelerator", "cpu", "--no-progress"]) == 0
    assert reverie(["evaluate", str(run), "--episodes", "1"]) == 0
    capsys.readouterr()
    assert reverie(["evaluate", str(run), "--accelerator", "gpu"]) == 2
    assert "accelerator is `gpu`, and torch finds no GPU here" in " ".join(capsys.readouterr().err.split())


def test_a_gpu_is_asked_for_its_generator_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking would take memory of every GPU of a machine that trains on its CPU."""
    taken: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.zeros(16, dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", taken.append)
    there = capture()
    assert there["cuda"] == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with_gpu = capture()
    assert len(with_gpu["cuda"]) == 1
    reinstate(there)
    assert taken == []
    reinstate(with_gpu)
    assert torch.equal(taken[0], with_gpu["cuda"][0])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    reinstate(with_gpu)  # resumed on a machine without
    assert len(taken) == 1
