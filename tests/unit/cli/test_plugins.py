import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.cli import console
from reverie.cli.console import GlobalOptions, configure
from reverie.cli.main import run
from reverie.testing.distributions import plugin_source, write_distribution

CONFIG = '''
from typing import Annotated, ClassVar, Literal
from pydantic import Field
from reverie import Config

class Inner(Config):
    depth: int = 2
    """How deep."""

class MineConfig(Config):
    presets: ClassVar = {"xs": {"units": 8}, "paper": {"units": 400, "mode": "b"}}

    units: int = Field(default=64, gt=0, le=4096)
    """Width of
    every layer."""
    mode: Literal["a", "b"] = "a"
    """Which way."""
    needed: str
    """What must be written."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    limit: float | None = None
    """A cap."""
    inner: Inner = Inner()
    """Options of a part."""
'''


@dataclass(frozen=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def reverie(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command line in this process, with `site` on the path (tests/faults runs it in processes of its own)."""
    monkeypatch.delenv("REVERIE_DISABLE_PLUGINS", raising=False)
    for wide in (console.console, console.error_console):
        monkeypatch.setattr(wide, "width", 300)  # temporary paths are long
    before = set(sys.modules)

    def call(*arguments: str, site: Path) -> Answer:
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(str(site))
        capsys.readouterr()
        code = run(arguments)
        return Answer(code, *capsys.readouterr())

    yield call
    configure(GlobalOptions())
    for module in set(sys.modules) - before:
        if module.startswith(("dist_a_plugin", "mod_")):
            del sys.modules[module]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    source = plugin_source(name="mine", target="dist_a_plugin.model:Mine", config="dist_a_plugin.config:MineConfig")
    modules = {
        "dist_a_plugin.__init__": source,
        "dist_a_plugin.config": CONFIG,
        "dist_a_plugin.model": "import no_such_heavy_library\n\n\nclass Mine:\n    pass\n",
    }
    return write_distribution(
        tmp_path / "site", "dist-a", version="2.5", plugins={"alpha": "dist_a_plugin"}, modules=modules
    )


def test_list_shows_plugins_and_components(reverie: Any, site: Path) -> None:
    answer = reverie("plugins", "list", site=site)
    assert answer.returncode == 0
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert ["alpha", "loaded", "dist-a", "2.5", "1"] in lines
    assert ["dynamics", "mine", "alpha", "a", "sample"] in lines or ["mine", "alpha", "a", "sample"] in lines
    assert ["gym", "loaded", "reverie", "0.1.0", "2"] in lines


def test_list_as_json(reverie: Any, site: Path) -> None:
    plugins = json.loads(reverie("plugins", "list", "--json", site=site).stdout)
    (alpha,) = [plugin for plugin in plugins if plugin["name"] == "alpha"]
    assert alpha["state"] == "loaded"
    assert (alpha["distribution"], alpha["version"], alpha["module"]) == ("dist-a", "2.5", "dist_a_plugin")
    assert alpha["file"] == str(site / "dist_a_plugin" / "__init__.py")
    (mine,) = alpha["components"]
    assert (mine["kind"], mine["name"], mine["target"]) == ("dynamics", "mine", "dist_a_plugin.model:Mine")


def test_list_of_one_kind(reverie: Any, site: Path) -> None:
    answer = reverie("plugins", "list", "--kind", "dynamics", site=site)
    assert "mine" in answer.stdout
    assert "gym" not in answer.stdout
    wrong = reverie("plugins", "list", "--kind", "dynamic", site=site)
    assert wrong.returncode == 2
    assert "did you mean 'dynamics'?" in wrong.stderr


@pytest.mark.parametrize("name", ["alpha", "dist-a/alpha", "mine", "dynamics/mine", "dist-a/mine"])
def test_show_says_where_and_which_options(reverie: Any, site: Path, name: str) -> None:
    answer = reverie("plugins", "show", name, site=site)
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout
    assert "dist-a 2.5" in text
    assert f"Mine  {site}/dist_a_plugin/model.py:4" in text  # found without importing the library that is missing
    assert f"MineConfig  {site}/dist_a_plugin/config.py:10" in text
    for line in (
        "units        int, > 0, <= 4096  default 64",
        "mode         'a' or 'b'  default \"a\"",
        "needed       str  required",
        "sizes        list of int  default [1, 2]",
        "limit        float or null  default null",
        "inner.depth  int  default 2",
        "Width of every layer.",
        "size=xs  units=8",
        "size=paper  units=400, mode=b",
    ):
        assert line in text, line


def test_show_as_json(reverie: Any, site: Path) -> None:
    shown = json.loads(reverie("plugins", "show", "mine", "--json", site=site).stdout)
    (mine,) = shown["components"]
    options = {option["name"]: option for option in mine["options"]}
    assert options["units"] == {
        "name": "units",
        "type": "int, > 0, <= 4096",
        "default": 64,
        "required": False,
        "doc": "Width of every layer.",
    }
    assert options["needed"]["required"] is True
    assert mine["presets"] == {"xs": {"units": 8}, "paper": {"units": 400, "mode": "b"}}
    assert shown["plugins"][0]["name"] == "alpha"


def test_show_of_an_unknown_name_gets_a_suggestion(reverie: Any, site: Path) -> None:
    answer = reverie("plugins", "show", "alhpa", site=site)
    assert answer.returncode == 2
    assert answer.stderr == "error: there is no plugin or component called 'alhpa'\n    fix: did you mean 'alpha'?\n"


def test_show_of_a_config_that_cannot_be_read_says_why(reverie: Any, tmp_path: Path) -> None:
    site = write_distribution(
        tmp_path / "site",
        "dist-b",
        plugins={"beta": "mod_beta"},
        modules={"mod_beta": plugin_source(config="mod_beta:NoSuchConfig")},
    )
    answer = reverie("plugins", "show", "beta", site=site)
    assert answer.returncode == 0
    assert "mod_beta has no 'NoSuchConfig'" in answer.stdout


def test_doctor_says_that_nothing_is_wrong(reverie: Any, site: Path) -> None:
    answer = reverie("plugins", "doctor", site=site)
    assert answer.returncode == 0, answer.stdout
    assert "nothing is wrong" in answer.stdout


def test_trace_shows_every_plugin_with_its_file(reverie: Any, site: Path) -> None:
    answer = reverie("--trace-plugins", site=site)
    assert answer.returncode == 0
    assert answer.stdout == ""
    assert ["alpha", "loaded", "dist-a", "2.5", str(site / "dist_a_plugin" / "__init__.py")] in [
        line.split() for line in answer.stderr.splitlines()
    ]


def test_names_from_plugins_cannot_steer_the_terminal(reverie: Any, tmp_path: Path) -> None:
    evil = "[red]\x1b[2J\u202e fine"
    source = plugin_source(name="evil", summary=evil)
    write_distribution(
        tmp_path / "site",
        "dist-a",
        version="1\x1b[31m",
        plugins={"alpha": "mod_evil"},
        modules={
            "mod_evil": source,
        },
    )
    for arguments in (["list"], ["show", "evil"], ["doctor"], ["list", "--json"]):
        answer = reverie("plugins", *arguments, site=tmp_path / "site")
        assert "\x1b" not in answer.stdout + answer.stderr
        assert "\u202e" not in answer.stdout + answer.stderr
    assert "[red]\\x1b[2J\\u202e fine" in reverie("plugins", "list", site=tmp_path / "site").stdout


def test_doctor_of_the_installation(reverie: Any, site: Path) -> None:
    answer = reverie("doctor", "--json", site=site)
    report = json.loads(answer.stdout)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert {"python", "torch", "threads", "ffmpeg", "rendering", "plugins"} <= set(found)
    assert found["rendering"]["status"] == "ok"
    assert found["ffmpeg"]["status"] == "ok"
    assert report["ok"] == (answer.returncode == 0)
    assert found["threads"]["value"].startswith(f"torch uses {torch.get_num_threads()} of ")
