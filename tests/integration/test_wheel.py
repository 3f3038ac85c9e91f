"""The distribution: built from its own source archive, installed alone, and used from an empty folder.

The editable installation in which the tests run must not help: the commands run without site-packages (`-S`), with the
installed wheel and a folder of links to everything but Reverie on their path.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_paths
from typing import NamedTuple
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = {path.relative_to(ROOT / "recipes").as_posix() for path in (ROOT / "recipes").rglob("*.yaml")}
PLUGINS = {path.parent.name for path in (ROOT / "plugins/reverie_plugins").glob("*/__init__.py")}


class Built(NamedTuple):
    source: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source archive of the checkout, and the wheel made from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Built(next(folder.glob("*.tar.gz")), next(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's files and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(target), str(built.wheel)], check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to all that is installed but Reverie; no .pth file, so that the editable installation stays out."""
    folder = tmp_path_factory.mktemp("dependencies")
    for place in {get_paths()["purelib"], get_paths()["platlib"]}:
        for entry in Path(place).iterdir():
            if "reverie" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


Alone = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def alone(installed: Path, dependencies: Path, tmp_path: Path) -> Alone:
    """Runs Python in an empty folder with the installed wheel and its dependencies only."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REVERIE_"))}
        env = {**inherited, "PYTHONPATH": f"{installed}{os.pathsep}{dependencies}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120)

    return call


def test_the_wheel_holds_the_package_its_recipes_and_no_tests(built: Built) -> None:
    with ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        entry_points = ConfigParser()
        entry_points.read_string(
            wheel.read(next(name for name in names if name.endswith("/entry_points.txt"))).decode()
        )
    own = {name for name in names if ".dist-info/" not in name}
    assert "reverie/py.typed" in own
    sources = {
        path.relative_to(root).as_posix()
        for root in (ROOT / "framework", ROOT / "plugins")
        for path in root.rglob("*")
        if path.is_file() and "cache" not in path.parent.as_posix()
    }
    assert own == sources | {f"reverie_plugins/_recipes/{recipe}" for recipe in RECIPES}
    assert not [name for name in own if "test_" in name or "conftest" in name]
    assert {"dreamer.yaml", "env/pendulum.yaml", "env/dmc/cartpole_swingup.yaml"} <= RECIPES
    assert dict(entry_points["reverie"]) == {name: f"reverie_plugins.{name}" for name in PLUGINS}
    assert entry_points["console_scripts"]["reverie"] == "reverie.cli.main:main"


def test_the_source_archive_holds_what_a_wheel_needs_and_no_more(built: Built) -> None:
    with tarfile.open(built.source) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    files = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert tops == {"framework", "plugins", "recipes", *files}


def test_its_recipes_are_found_without_a_checkout(alone: Alone, installed: Path) -> None:
    script = "import reverie, reverie_plugins.gym as gym; print(reverie.__file__, gym.__file__, sep='\\n')"
    used = alone("-c", script).stdout.splitlines()
    assert used == [str(installed / "reverie/__init__.py"), str(installed / "reverie_plugins/gym/__init__.py")]
    listed = alone(str(installed / "bin/reverie"), "recipes", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)
    folder = installed / "reverie_plugins/_recipes"
    assert {Path(row["file"]) for row in rows} <= {folder / recipe for recipe in RECIPES}
    assert {row["name"] for row in rows} >= {"dreamer", "demo", "dreamer_categorical", "dreamer_contrastive"}
    assert str(ROOT) not in listed.stdout


def test_it_checks_a_recipe_without_a_checkout(alone: Alone, installed: Path) -> None:
    checked = alone(str(installed / "bin/reverie"), "check", "dreamer", "env=pendulum", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    answer = json.loads(checked.stdout)
    assert answer["ok"]
    assert {row["slot"]: row["component"] for row in answer["wiring"]}["env"] == "gym"
    assert {row["distribution"] for row in answer["wiring"]} == {f"reverie {version('reverie')}"}
    assert str(ROOT) not in checked.stdout + checked.stderr
