"""Built-ins are ordinary: the RSSM, copied into a distribution of its own under another name, gives equal numbers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from reverie.training.checkpoint import checkpoint_of

from .conftest import TINY, differences, final_state, rows_of

ROOT = Path(__file__).parents[2]

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "elsewhere-rssm"
version = "2.5"
dependencies = ["reverie"]

[project.entry-points.reverie]
elsewhere = "elsewhere_rssm"
"""


def copy_plugin(folder: Path) -> Path:
    """The sources of a third party's project: the built-in's files, with the names exchanged."""
    package = folder / "elsewhere_rssm"
    shutil.copytree(ROOT / "plugins/reverie_plugins/rssm", package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text(PROJECT)
    for file in package.glob("*.py"):
        text = file.read_text().replace("reverie_plugins.rssm", "elsewhere_rssm")
        file.write_text(text.replace('name="rssm"', 'name="rssm_elsewhere"'))
        assert "reverie_plugins" not in file.read_text()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel of the copy is installed."""
    project = copy_plugin(tmp_path_factory.mktemp("elsewhere"))
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check"]
    subprocess.run([*build, "--outdir", str(wheels), str(project)], check=True, capture_output=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=120)
    shutil.rmtree(project)  # only the installed files can be used
    return target


def start(site: Path, run: Path, *overrides: str) -> subprocess.Popen[str]:
    """The real command line, at work."""
    command = [sys.executable, "-m", "reverie.cli.main", "train", "dreamer", "--no-progress", f"run_dir={run}"]
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    env.pop("REVERIE_DISABLE_PLUGINS", None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*command, *overrides], text=True, env=env, cwd=run.parent, **pipes)


def component(run: Path) -> dict[str, str]:
    """Where the run's dynamics came from, and how the run ended."""
    facts = json.loads((run / "provenance.json").read_text())["components"]["dynamics"]
    status = json.loads((run / "status.json").read_text())["status"]
    return {**{key: facts[key] for key in ("component", "distribution", "version")}, "status": status}


SAME = ("dynamics.layers=1", "dynamics.kl.free_nats=1")
"""Options that the recipe gives to its own dynamics only."""


def test_a_copied_plugin_trains_to_the_same_bits(site: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    chosen = {theirs: "rssm_elsewhere", ours: "rssm"}
    for process in [
        start(site, run, *TINY, f"dynamics={name}", "dynamics.latent=gaussian", *SAME) for run, name in chosen.items()
    ]:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    assert component(theirs) == {
        "component": "rssm_elsewhere",
        "distribution": "elsewhere-rssm",
        "version": "2.5",
        "status": "completed",
    }
    assert component(ours)["distribution"] == "reverie"
    # The files themselves, read by safetensors alone.
    one, other = (load_file(checkpoint_of(run).path / "weights.safetensors") for run in (theirs, ours))
    assert one.keys() == other.keys()
    assert any(name.startswith("agent.dynamics.") for name in one)
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []
    # And all else that a resumed run would go on from: optimizers, counters, generators, replay.
    assert differences(final_state(theirs), final_state(ours)) == []
    rows = rows_of(theirs)
    assert rows == rows_of(ours)
    assert int(rows[-1]["updates"]) > 10
    assert sum(bool(row["model/dynamics/kl_dyn"]) for row in rows) >= 3
