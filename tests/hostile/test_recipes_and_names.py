"""Recipes, metrics and names from strangers, as commands meet them."""

from pathlib import Path

import pytest
from victims import Refused, Victim

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
EXTENDS = "defaults: [dreamer]\n"

RECIPES = {
    "alias bomb": (BOMB, "anchors and aliases"),
    "deep": ("a: " + "[" * 100_000, "nested deeper"),
    "target": (EXTENDS + "dynamics: {_target_: os.system, command: touch canary}\n", "'_target_' is refused"),
    "interpolation": (EXTENDS + "run_dir: ${oc.env:HOME}\n", "interpolation"),
    "tag": (EXTENDS + "run_dir: !!python/object/apply:os.system [touch canary]\n", "YAML tag"),
    "huge integer": (EXTENDS + "seed: " + "9" * 5000 + "\n", "too large"),
    "seed beyond 64 bits": (EXTENDS + f"seed: {2**63}\n", "seed"),
    "not a number": (EXTENDS + "budget: {minutes: .nan}\n", "not finite"),
    "control characters": (EXTENDS + 'size: "\\e]0;owned\\a"\n', "control characters"),
    "rounds": (
        EXTENDS + "stages: [{rounds: 1000000000000, stages: [{name: a, collect: {policy: random}, "
        "until: {env_steps: 1}}]}]\n",
        "rounds",
    ),
    "batch": (EXTENDS + "replay: {batch_size: 1000000, length: 1000000}\n", "16777216"),
    "environments": (EXTENDS + "environments: {count: 1000000000}\n", "count"),
    "devices": (EXTENDS + "trainer: {devices: 100000000}\n", "devices"),
    "episodes": (EXTENDS + "evaluation: {episodes: 1000000000}\n", "episodes"),
    "size of a model": (EXTENDS + "dynamics: {deter: 8000000}\n", "dynamics"),
    "module as environment": (EXTENDS + "env: {id: 'antigravity:Env-v0'}\n", "id"),
    "folder elsewhere": (EXTENDS + "run_dir: /tmp/../canary\n", "lies outside the current folder"),
    "folder above": (EXTENDS + "run_dir: ../canary\n", "lies outside the current folder"),
    "home": (EXTENDS + "run_dir: ~/canary\n", "lies outside the current folder"),
    "run elsewhere": (EXTENDS + "dynamics: {from_run: /etc}\n", "not a run folder"),
    "component that is a path": (EXTENDS + "dynamics: {name: ../../secret}\n", "no dynamics"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, message = RECIPES[name]
    Path("x.yaml").write_text(text)
    assert message in refused("check", "x.yaml")


@pytest.mark.parametrize("name", ["alias bomb", "target"])
def test_recipes_inside_runs(name: str, victim: Victim, refused: Refused) -> None:
    text, message = RECIPES[name]
    (victim.path / "recipe.lock.yaml").write_text(text)
    for verb in ("evaluate", "resume"):
        assert message in refused(verb, str(victim.path))


def test_train_with_a_hostile_run_in_a_slot(victim: Victim, refused: Refused) -> None:
    (victim.path / "recipe.lock.yaml").write_text("dynamics: {name: rssm, _target_: os.system}\n")
    assert "'_target_' is refused" in refused("train", "dreamer", "dynamics.from_run=run", "run_dir=canary-run")


def test_a_plugin_that_a_lock_names_is_not_imported(victim: Victim, refused: Refused) -> None:
    Path("evil.py").write_text("open('canary', 'w')\n")
    lock = victim.path / "recipe.lock.yaml"
    lock.write_text(
        lock.read_text().replace(
            "  schema: 1\n",
            f"  schema: 1\n  local_plugins:\n  - name: local.evil\n    file: {Path.cwd()}/evil.py\n    sha256: '0'\n",
        )
    )
    assert "evil" in refused("evaluate", str(victim.path))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "\x1b[2J\x1b]0;owned\x07", "a\u202eb", "x" * 5000])
def test_names_on_the_command_line(name: str, refused: Refused) -> None:
    for words in (
        ("recipes", "show", name),
        ("check", name),
        ("evaluate", name[:200]),
        ("--plugin", name, "check", "dreamer"),
    ):
        refused(*words)


def test_metrics_that_are_none(victim: Victim, refused: Refused) -> None:
    metrics = victim.path / "metrics"
    (metrics / "metrics.csv").write_text("env_steps,train/return\n1," + "9" * 400 + "\n2,nan\nx,y,z\n")
    (metrics / "evaluations.jsonl").write_text(
        "[" * 100_000 + '\n{"env_steps": 1' + "0" * 400 + ', "mean": 1}\n[]\n7\n'
    )
    assert "no returns yet" in refused("curve", str(victim.path))
    (metrics / "metrics.csv").write_text("a\n" + "x" * 200_000 + "\n")
    assert "metrics.csv is not a table of metrics" in refused("curve", str(victim.path))
    with (metrics / "metrics.csv").open("r+b") as file:
        file.truncate(2**40)
    assert "metrics.csv cannot be read" in refused("curve", str(victim.path))


def test_a_run_with_a_forged_name(victim: Victim, refused: Refused) -> None:
    victim.keep_one()
    victim.put("weights.safetensors", b"x")
    victim.put("training.pt", b"x")
    forged = "run\x1b[2K\rOK  every part fits"
    victim.path.rename(forged)
    assert "run\\x1b[2K\\x0dOK" in refused("evaluate", forged)
    assert not any(line.startswith("OK") for line in refused("resume", forged, "--no-progress").splitlines())
