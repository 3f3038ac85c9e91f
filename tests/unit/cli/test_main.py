import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reverie.cli import main
from reverie.cli.main import VERBS, Verb, hoist, run
from reverie.errors import Problem, RecipeError, ReverieError


def test_help_lists_every_verb_with_one_line(reverie: Any) -> None:
    answer = reverie("--help", COLUMNS="80")
    assert answer.returncode == 0
    assert answer.stderr == ""
    lines = answer.stdout.splitlines()
    for name, verb in VERBS.items():
        assert any(line.strip("│ ").split() == [name, *verb.summary.split()] for line in lines), name
    assert reverie().stdout == reverie("-h").stdout


HEAVY = ("torch", "hydra", "pydantic", "numpy", "gymnasium", "omegaconf", "pytorch_lightning")

PROBE = """
import json, sys
from reverie.cli.main import run
code = run(json.loads(sys.argv[1]))
heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print("IMPORTED", json.dumps([code, heavy]))
"""


def _imports(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", PROBE, json.dumps(arguments), json.dumps(HEAVY)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("IMPORTED")]
    code, heavy = json.loads(line.removeprefix("IMPORTED "))
    return code, heavy


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert _imports(*arguments) == (0, [])


def test_listing_plugins_imports_neither_torch_nor_hydra() -> None:
    code, heavy = _imports("plugins", "list")
    assert code == 0
    assert not {"torch", "hydra", "gymnasium"} & set(heavy)


def test_the_probe_sees_what_is_imported() -> None:
    assert "torch" in _imports("doctor")[1]


def test_help_takes_less_than_half_a_second() -> None:
    """Of processor time, the best of five: other work on the machine must not decide."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "reverie.cli.main", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 0.5, taken


def test_version(reverie: Any) -> None:
    assert reverie("--version").stdout == "reverie 0.1.0\n"


def test_a_misspelt_verb_gets_a_suggestion(reverie: Any) -> None:
    answer = reverie("trian", "dreamer")
    assert answer.returncode == 2
    assert "Did you mean 'train'?" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_every_verb_of_the_table_resolves() -> None:
    """Where the module exists already, its command can be made; a module that does not exist breaks only its verb."""
    for name, verb in VERBS.items():
        module = verb.target.partition(":")[0]
        if main.importlib.util.find_spec(module) is None:
            with pytest.raises(ReverieError, match="does not have the verb"):
                main._import_verb(name)
        else:
            assert main._import_verb(name).name == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["train", "x", "--plugin", "a.py"], ["--plugin", "a.py", "train", "x"]),
        (["train", "--plugin=a.py", "x", "--debug"], ["--plugin=a.py", "--debug", "train", "x"]),
        (
            ["plugins", "list", "--no-plugin", "a", "--json", "--no-plugin", "b"],
            ["--no-plugin", "a", "--no-plugin", "b", "plugins", "list", "--json"],
        ),
        (["train", "x", "--", "--debug"], ["train", "x", "--", "--debug"]),
        (["train", "--plugin"], ["--plugin", "train"]),
        (["train", "x", "--plugins", "env.debug=1"], ["train", "x", "--plugins", "env.debug=1"]),
        ([], []),
    ],
)
def test_global_options_may_stand_after_the_verb(written: list[str], meant: list[str]) -> None:
    assert hoist(written) == meant


def _verb(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Puts a verb `doctor` in place whose function is this one."""
    module = type(sys)("a_verb")
    module.verb = function  # type: ignore[attr-defined]  # a module made for this test
    module.__spec__ = main.importlib.util.spec_from_loader("a_verb", loader=None)
    monkeypatch.setitem(sys.modules, "a_verb", module)
    monkeypatch.setitem(VERBS, "doctor", Verb("a_verb:verb", "a verb", "Look around"))


def _raise(error: BaseException) -> Any:
    def verb() -> None:
        raise error

    return verb


def test_an_error_is_printed_without_a_traceback(monkeypatch: Any, capsys: Any) -> None:
    problems = [
        Problem("dynamics: unknown option 'detr'", "x.yaml:3", "dynamics.detr", "why it is", "write deter"),
        Problem("planner: no 'cme'", fix="did you mean 'cem'?"),
    ]
    _verb(monkeypatch, _raise(RecipeError(problems)))
    assert run(["doctor"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: 2 problems",
        "",
        "- x.yaml:3: dynamics: unknown option 'detr'",
        "    why: why it is",
        "    fix: write deter",
        "",
        "- planner: no 'cme'",
        "    fix: did you mean 'cem'?",
    ]


def test_debug_adds_the_traceback(monkeypatch: Any, capsys: Any) -> None:
    _verb(monkeypatch, _raise(ReverieError("something")))
    assert run(["doctor", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: something" in err
    assert run(["doctor"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_may_have_an_exit_code_of_its_own(monkeypatch: Any) -> None:
    class Special(ReverieError):
        exit_code = 7

    _verb(monkeypatch, _raise(Special("x")))
    assert run(["doctor"]) == 7


def test_ctrl_c_is_130(monkeypatch: Any) -> None:
    _verb(monkeypatch, _raise(KeyboardInterrupt()))
    assert run(["doctor"]) == 130


def test_a_bug_is_not_dressed_up_as_a_users_mistake(monkeypatch: Any) -> None:
    _verb(monkeypatch, _raise(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run(["doctor"])


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b[31m", "\r", "\x9b1m", "\u202e", "\u2066", "\x07", "\x00", "\u200b"])
def test_no_error_can_steer_the_terminal(monkeypatch: Any, capsys: Any, evil: str) -> None:
    _verb(
        monkeypatch,
        _raise(RecipeError([Problem(what=f"a{evil}b", where=f"c{evil}d", why=f"e{evil}f", fix=f"g{evil}")])),
    )
    run(["doctor"])
    _verb(monkeypatch, _raise(ReverieError(f"a{evil}b\nmore{evil}")))
    run(["doctor"])
    err = capsys.readouterr().err
    assert evil not in err
    assert "a\\" in err


def test_markup_is_text(monkeypatch: Any, capsys: Any) -> None:
    _verb(monkeypatch, _raise(ReverieError("[bold red]x[/] [link=http://a]y[/link] [/nonsense] :smile: \\[z]")))
    assert run(["doctor"]) == 2
    assert capsys.readouterr().err == "error: [bold red]x[/] [link=http://a]y[/link] [/nonsense] :smile: \\[z]\n"


def test_long_messages_are_not_folded(monkeypatch: Any, capsys: Any) -> None:
    path = "/a/folder" * 60
    _verb(monkeypatch, _raise(ReverieError(path)))
    run(["doctor"])
    assert path in capsys.readouterr().err


def test_a_terminal_that_lacks_a_character_gets_an_escape(reverie: Any, tmp_path: Path) -> None:
    answer = reverie("plugins", "show", "ünïcode", PYTHONIOENCODING="ascii")
    assert answer.returncode == 2
    assert "\\xfcn\\xefcode" in answer.stderr


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "reverie.cli.main", "plugins", "list"]
    answer = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=120)
    os.close(writer)
    assert "Traceback" not in answer.stderr
    assert "BrokenPipe" not in answer.stderr


def test_ctrl_c_while_a_plugin_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text("import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n")
    # A shell that starts the tests in the background has SIGINT ignored, and children inherit that.
    listening = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = listening + "runpy.run_module('reverie.cli.main', run_name='__main__')"
    command = [sys.executable, "-c", program, "plugins", "list", "--plugin", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "importing\n"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started < 20
    assert "Traceback" not in rest
