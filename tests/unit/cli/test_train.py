"""What `reverie train` and `reverie resume` say at the end can be typed as it stands."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from reverie.cli import console
from reverie.cli.train import farewell


@pytest.mark.parametrize(("status", "verb"), [("completed", "evaluate"), ("interrupted", "resume")])
def test_the_next_command_names_the_one_file_plugins(
    status: str, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        SimpleNamespace(file=Path("x.py"), sha256="1", state="loaded"),
        SimpleNamespace(file=Path("broken.py"), sha256="2", state="failed"),
        SimpleNamespace(file=Path("installed.py"), sha256=None, state="loaded"),
    ]
    monkeypatch.setattr(console, "current_plugins", lambda: SimpleNamespace(records=records))
    farewell(Path("runs/a"), status)
    out = capsys.readouterr().out
    assert f"reverie {verb} runs/a --plugin x.py" in out
    assert "broken.py" not in out
    assert "installed.py" not in out


def test_names_in_a_table_are_never_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    made = console.table("slot", "component", "needs", whole=2)
    made.add_row("objectives/reconstruction", "reconstruction", "actor; heads/reward; heads/value; heads/continue")
    console.console.print(made)
    assert "objectives/reconstruction   reconstruction" in capsys.readouterr().out
