"""A slot taken from a finished run: its weights arrive, stay where they are frozen, and are not needed again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.cli.main import run as reverie
from reverie.errors import RecipeError, ReverieError
from reverie.training.checkpoint import checkpoint_of
from reverie.training.run import resume, train
from tiny_runs import TINY

from .test_train_resume import At

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Make) -> Path:
    folder = tmp_path_factory.mktemp("source") / "run"
    return train(tiny_recipe("stages.1.until.env_steps=10"), run_dir=folder, progress=False).run_dir


def slot(run: Path, prefix: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in checkpoint_of(run).agent_state().items() if name.startswith(prefix)}


def test_frozen_weights_of_another_run_stay_bit_for_bit(tmp_path: Path, source: Path, tiny_recipe: Make) -> None:
    recipe = tiny_recipe(f"dynamics.from_run={source}", "dynamics.freeze=true", "seed=5", "stages.1.until.env_steps=10")
    run = train(recipe, run_dir=tmp_path / "run", progress=False).run_dir
    theirs, ours = slot(source, "dynamics."), slot(run, "dynamics.")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert not all(
        torch.equal(a, b) for a, b in zip(slot(source, "actor").values(), slot(run, "actor").values(), strict=True)
    )


def test_thawed_weights_begin_there_and_move(tmp_path: Path, source: Path, tiny_recipe: Make) -> None:
    begun: dict[str, torch.Tensor] = {}

    def look(module: Any) -> None:
        begun.update({name: value.clone() for name, value in module.agent.dynamics.state_dict().items()})

    recipe = tiny_recipe(f"dynamics.from_run={source}", "seed=5", "stages.1.until.env_steps=10")
    run = train(recipe, run_dir=tmp_path / "run", callbacks=[At(1, look)], progress=False).run_dir
    theirs = {name.removeprefix("dynamics."): value for name, value in slot(source, "dynamics.").items()}
    assert all(torch.equal(begun[name], theirs[name]) for name in theirs)
    assert any(not torch.equal(value, slot(run, "dynamics.")["dynamics." + name]) for name, value in theirs.items())


def test_a_run_is_resumed_when_its_source_is_gone(tmp_path: Path, source: Path, tiny_recipe: Make) -> None:
    import os
    import signal

    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    recipe = tiny_recipe(f"dynamics.from_run={copy}", "dynamics.freeze=true", "stages.1.until.env_steps=10")
    stop = At(5, lambda module: os.kill(os.getpid(), signal.SIGTERM))
    run = train(recipe, run_dir=tmp_path / "run", callbacks=[stop], progress=False).run_dir
    before = slot(run, "dynamics.")
    shutil.rmtree(copy)
    assert resume(run, progress=False).status == "completed"
    assert all(torch.equal(value, slot(run, "dynamics.")[name]) for name, value in before.items())


def test_a_run_on_other_spaces_is_refused_with_both(tmp_path: Path, source: Path, tiny_recipe: Make) -> None:
    recipe = tiny_recipe(f"dynamics.from_run={source}", "env=acrobot")
    with pytest.raises(ReverieError) as caught:
        train(recipe, run_dir=tmp_path / "run", progress=False)
    text = str(caught.value)
    assert "why: its observations are state " in text
    assert "those here state 6" in text
    assert "fix: train in an environment with the spaces of that run, or leave `from_run` away" in text
    assert isinstance(caught.value, RecipeError)
    (problem,) = caught.value.problems
    assert problem.key == "dynamics.from_run"
    assert problem.why.startswith("its observations are state ")
    assert problem.fix.startswith("train in an environment")


def test_check_says_why_and_fix_once_each(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reverie(["check", "dreamer", *TINY, f"dynamics.from_run={source}", "env=acrobot"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "why: its observations are state " in said
    assert said.count("why:") == said.count("fix:") == 1


def test_a_run_with_other_sizes_is_refused(tmp_path: Path, source: Path, tiny_recipe: Make) -> None:
    recipe = tiny_recipe(f"dynamics.from_run={source}", "dynamics.deter=16")
    with pytest.raises(ReverieError, match="have the same spaces, so the options of components differ"):
        train(recipe, run_dir=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


OTHER = "observations.vectors=normalize_symlog"


def checked(*words: str) -> int:
    return reverie(["check", "dreamer", *TINY, "--no-probe", *words])


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_parts_of_a_run_that_prepared_vectors_otherwise_are_refused(
    part: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder that learned from normalised numbers would read their logarithms, and nothing would say so."""
    assert checked(f"{part}.from_run={source}", OTHER) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{part} comes from a run with observations.vectors=normalize, and here it is normalize_symlog" in said
    assert f"command line: {part}" in said
    assert "fix: write observations.vectors=normalize" in said
    assert said.count("why:") == said.count("fix:") == 1
    assert checked(f"{part}.from_run={source}") == 0


def test_what_reads_embeddings_does_not_care_how_vectors_were_prepared(source: Path) -> None:
    """A dynamics reads what the new encoder makes of them; unless that hands on the vectors themselves."""
    assert checked(f"dynamics.from_run={source}", OTHER) == 0


@pytest.mark.parametrize("slot", ["dynamics", "heads.reward"])
def test_behind_an_encoder_that_hands_vectors_on_everything_reads_them(
    slot: str, tmp_path: Path, tiny_recipe: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "pets"
    run.mkdir()
    (run / "recipe.lock.yaml").write_text(
        "observations: {vectors: symlog}\ndynamics: {name: ensemble}\nheads: {reward: {name: gaussian}}\n"
    )
    words = ["check", "pets", "env=pendulum", "--no-probe", f"{slot}.from_run={run}"]
    assert reverie(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{slot.replace('.', '/')} comes from a run with observations.vectors=symlog, and here it is" in said
    reverie([*words, "observations.vectors=symlog"])
    assert "comes from a run with" not in capsys.readouterr().err


@pytest.mark.parametrize("observations", ["", "observations: 3\n", "observations: {vectors: [1, 2]}\n"])
def test_a_run_that_does_not_say_how_it_prepared_vectors_is_taken(
    observations: str, tmp_path: Path, source: Path, tiny_recipe: Make
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.lock.yaml").write_text(f"{observations}encoder: {{name: auto}}\n")
    assert tiny_recipe(f"encoder.from_run={run}", OTHER).choices["encoder"].vectors is None


def test_pictures_do_not_care_how_vectors_were_prepared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.lock.yaml").write_text("observations: {vectors: symlog}\nencoder: {name: auto}\n")
    words = [f"encoder.from_run={run}"]
    assert checked("env=cartpole_pixels", *words) == 0
    assert checked("env=cartpole_dict", *words) == 2
    (run / "recipe.lock.yaml").write_text("observations: {vectors: symlog}\nencoder: {name: image}\n")
    assert reverie(["check", "dreamer", "env=cartpole_dict", "--no-probe", *words]) == 0


def test_a_run_that_has_begun_is_opened_whatever_its_source_says_today(
    tmp_path: Path, source: Path, tiny_recipe: Make
) -> None:
    """Its weights are its own since then; a folder of that name may hold another run by now."""
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    recipe = tiny_recipe(f"encoder.from_run={copy}", "stages.1.until.env_steps=10")
    run = train(recipe, run_dir=tmp_path / "run", progress=False).run_dir
    lock = copy / "recipe.lock.yaml"
    lock.write_text(lock.read_text().replace("vectors: normalize", "vectors: symlog"))
    with pytest.raises(RecipeError, match=r"observations\.vectors=symlog"):
        tiny_recipe(f"encoder.from_run={copy}")
    assert reverie(["evaluate", str(run), "--episodes", "1"]) == 0
