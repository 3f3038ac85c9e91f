import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverie.cli import console as shared
from reverie.cli.console import GlobalOptions, clean, configure, current_plugins, print_json, styled, table
from reverie.errors import PluginError


def test_clean_shows_what_would_steer_a_terminal() -> None:
    assert clean("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert clean("a\nb\tc\rd") == "a\\x0ab\\x09c\\x0dd"
    assert clean("a\nb\tc\rd", lines=True) == "a\nb\tc\\x0dd"
    assert clean("\u202eabc\u2028\U000e0041") == "\\u202eabc\\u2028\\U000e0041"
    assert clean("\udcff") == "\\udcff"
    assert clean("ünïcode ✗ 模型") == "ünïcode ✗ 模型"
    assert clean(Path("/a")) == "/a"


def test_every_control_character_is_shown() -> None:
    for code in [*range(0x20), *range(0x7F, 0xA0)]:
        assert clean(chr(code)) == f"\\x{code:02x}"


def test_tables_take_names_as_text() -> None:
    made = table("a [b]")
    made.add_row(styled("[red]x[/]\x1b[1m"))
    out = io.StringIO()
    Console(file=out, width=80).print(made)
    assert "[red]x[/]\\x1b[1m" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_json_is_ascii_and_strict(capsys: Any, tmp_path: Path) -> None:
    print_json({"name": "\x1b[2J\x7fü\u202e", "path": tmp_path, "set": {2, 1}})
    out = capsys.readouterr().out
    assert out.isascii()
    assert not {"\x1b", "\x7f"} & set(out)
    assert json.loads(out) == {"name": "\x1b[2J\x7fü\u202e", "path": str(tmp_path), "set": [1, 2]}
    with pytest.raises(ValueError):
        print_json({"nan": float("nan")})
    with pytest.raises(TypeError):
        print_json({"object": object()})


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("REVERIE_DISABLE_PLUGINS", raising=False)
    yield configure
    configure(GlobalOptions())


def test_plugins_are_loaded_once_and_again_after_configure(fresh: Any) -> None:
    fresh(GlobalOptions(disabled=("rssm",)))
    first = current_plugins(strict=False)
    assert current_plugins(strict=False) is first
    assert [record.name for record in first.records if record.state == "blocked"] == ["rssm"]
    fresh(GlobalOptions())
    assert [record.name for record in current_plugins(strict=False).records if record.state == "blocked"] == []


def test_a_misspelt_no_plugin_is_an_error_but_a_stale_variable_is_not(fresh: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("REVERIE_DISABLE_PLUGINS", "long_gone")
    fresh(GlobalOptions())
    assert current_plugins(strict=False).unmatched == ["long_gone"]
    fresh(GlobalOptions(disabled=("rsssm",)))
    with pytest.raises(PluginError, match="did you mean 'rssm'"):
        current_plugins(strict=False)


def test_a_broken_file_stops_every_verb_but_those_that_list_plugins(fresh: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("raise ValueError('my bug')")
    fresh(GlobalOptions(files=(file,)))
    with pytest.raises(PluginError, match="my bug"):
        current_plugins()
    fresh(GlobalOptions(files=(file,)))
    assert current_plugins(strict=False).find("local.bad")[0].state == "failed"


def test_other_broken_plugins_are_a_warning(capsys: Any, tmp_path: Path) -> None:
    from reverie.extension.report import PluginRecord

    record = PluginRecord("alpha", "dist-a", "1.0", "m", state="failed", error="my [bold]bug[/]\x1b[2J")
    shared._report_failures([record])
    err = capsys.readouterr().err
    assert err.startswith("warning: the plugin 'alpha' of dist-a 1.0 could not be loaded: my [bold]bug[/]\\x1b[2J")
