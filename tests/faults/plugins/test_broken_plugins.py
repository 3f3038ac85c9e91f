"""Plugins that are broken in every way that was thought of: the command line works and says what is wrong."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reverie.testing.distributions import call_reverie, plugin_source, write_distribution

GOOD = plugin_source(name="good_dynamics")
SPOILED = "from reverie import hookimpl\n@hookimpl\ndef reverie_components():\n    {}\n"

BROKEN = {
    "raises at import": ("raise RuntimeError('my bug')", "failed", "RuntimeError: my bug"),
    "leaves at import": ("import sys\nsys.exit(0)", "failed", "it called sys.exit(0)"),
    "leaves with a message": ("raise SystemExit('goodbye')", "failed", "it called sys.exit('goodbye')"),
    "is cancelled": ("import asyncio\nraise asyncio.CancelledError", "failed", "CancelledError"),
    "needs what is missing": ("import no_such_library", "failed", "No module named 'no_such_library'"),
    "is no Python": ("def broken(:", "failed", "SyntaxError"),
    "raises while listing": (SPOILED.format("raise ValueError('listing')"), "failed", "ValueError: listing"),
    "leaves while listing": (SPOILED.format("raise SystemExit(1)"), "failed", "it called sys.exit(1)"),
    "lists nonsense": (SPOILED.format("return [1]"), "failed", "returned 1 where a ComponentSpec belongs"),
    "has no hooks": ("", "failed", "it has no hook"),
    "newer api": (plugin_source(api=99), "incompatible", "API version 99, this Reverie has 1: update Reverie"),
    "older api": (plugin_source(api=0), "incompatible", "API version 0, this Reverie has 1: update the plugin"),
    "illegal name": (plugin_source(name="../../x"), "failed", "'../../x' is not made of"),
    "unknown kind": (plugin_source(kind="dinamics"), "failed", "did you mean 'dynamics'?"),
    "malformed target": (plugin_source(target="a.b.C"), "failed", "its target 'a.b.C' is not of the form"),
    "writes a forged line": ("raise ValueError('\\x1b[2Jx\\r')", "failed", "ValueError: \\x1b[2Jx"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[subprocess.CompletedProcess[str]]:
    """`plugins list` and `plugins doctor` with all of them installed at once, beside a good one."""
    site = tmp_path_factory.mktemp("site")
    write_distribution(site, "good-dist", plugins={"good": "mod_good"}, modules={"mod_good": GOOD})
    for number, (source, _, _) in enumerate(BROKEN.values()):
        module = f"mod_bad_{number}"
        write_distribution(
            site, f"bad-dist-{number}", version="6.6", plugins={f"bad_{number}": module}, modules={module: source}
        )
    return [call_reverie(site, site, "plugins", verb) for verb in ("list", "doctor")]


def test_the_command_line_works_beside_all_of_them(answers: Any) -> None:
    listed, examined = answers
    assert listed.returncode == 0, listed.stderr
    assert ["good", "loaded", "good-dist", "1.0", "1"] in [line.split() for line in listed.stdout.splitlines()]
    assert "good_dynamics" in listed.stdout
    assert examined.returncode == 1
    for text in (listed.stdout, listed.stderr, examined.stdout, examined.stderr):
        assert not {"\x1b", "\r"} & set(text)


@pytest.mark.parametrize("case", BROKEN)
def test_each_is_named_with_its_distribution_version_and_reason(answers: Any, case: str) -> None:
    _, state, told = BROKEN[case]
    number = list(BROKEN).index(case)
    listed, examined = answers
    row = [f"bad_{number}", state, f"bad-dist-{number}", "6.6"]
    assert row in [line.split() for line in listed.stdout.splitlines()]
    named = f"plugin 'bad_{number}' of bad-dist-{number} 6.6"
    (line,) = [line for line in listed.stderr.splitlines() if named in line]
    assert told in line
    (part,) = [part for part in examined.stdout.split("\n\n") if f"{named}  {state}" in part]
    assert told in part
    assert f"--no-plugin bad-dist-{number}/bad_{number}" in part


@pytest.mark.parametrize("source", ["raise RuntimeError('my bug')", "import sys; sys.exit(0)"])
def test_one_alone_is_a_warning_to_other_verbs(reverie: Any, site: Path, source: str) -> None:
    write_distribution(site, "bad-dist", version="6.6", plugins={"bad": "mod_bad"}, modules={"mod_bad": source})
    answer = reverie("recipes", "list")
    assert answer.returncode == 0, answer.stderr
    assert "warning: the plugin 'bad' of bad-dist 6.6 could not be loaded" in answer.stderr


def test_json_names_distribution_version_and_traceback(reverie: Any, site: Path) -> None:
    modules = {"mod_bad": "print('noise on stdout')\nraise RuntimeError('my bug')"}
    write_distribution(site, "bad-dist", version="6.6", plugins={"bad": "mod_bad"}, modules=modules)
    answer = reverie("plugins", "doctor", "--json")
    assert answer.returncode == 1
    (failed,) = json.loads(answer.stdout)["failed"]
    assert (failed["name"], failed["distribution"], failed["version"]) == ("bad", "bad-dist", "6.6")
    assert 'mod_bad.py", line 2' in failed["traceback"]
    assert "noise on stdout" in answer.stderr


def test_two_plugins_with_one_component_name_both_distributions(reverie: Any, site: Path) -> None:
    for letter in "ab":
        source = plugin_source(name="twin", summary=f"of {letter}")
        write_distribution(
            site, f"dist-{letter}", plugins={f"plugin_{letter}": f"mod_{letter}"}, modules={f"mod_{letter}": source}
        )
    listed = reverie("plugins", "list")
    assert listed.returncode == 0
    assert "dist-a/twin" in listed.stdout
    assert "dist-b/twin" in listed.stdout
    examined = reverie("plugins", "doctor")
    assert examined.returncode == 1
    assert "'plugin_a' of dist-a 1.0 and plugin 'plugin_b' of dist-b 1.0" in examined.stdout
    assert "write 'dist-a/twin' or 'dist-b/twin'" in examined.stdout
    shown = json.loads(reverie("plugins", "show", "dist-b/twin", "--json").stdout)
    assert [component["summary"] for component in shown["components"]] == ["of b"]
    assert reverie("plugins", "doctor", "--no-plugin", "plugin_a").returncode == 0


def test_two_distributions_with_one_plugin_name(reverie: Any, site: Path) -> None:
    for letter in "ab":
        source = plugin_source(name=f"from_{letter}")
        write_distribution(site, f"dist-{letter}", plugins={"twin": f"mod_{letter}"}, modules={f"mod_{letter}": source})
    plugins = json.loads(reverie("plugins", "list", "--json").stdout)
    twins = [(plugin["distribution"], plugin["state"]) for plugin in plugins if plugin["name"] == "twin"]
    assert twins == [("dist-a", "loaded"), ("dist-b", "loaded")]
    blocked = json.loads(reverie("plugins", "list", "--json", "--no-plugin", "dist-a/twin").stdout)
    twins = [(plugin["distribution"], plugin["state"]) for plugin in blocked if plugin["name"] == "twin"]
    assert twins == [("dist-a", "blocked"), ("dist-b", "loaded")]


@pytest.mark.parametrize("how", ["option", "option after the verb", "variable"])
def test_a_blocked_plugin_is_never_imported(reverie: Any, site: Path, tmp_path: Path, how: str) -> None:
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w').close()\n{plugin_source()}"
    write_distribution(site, "bad-dist", plugins={"bad": "mod_bad"}, modules={"mod_bad": source})
    if how == "variable":
        answer = reverie("plugins", "list", REVERIE_DISABLE_PLUGINS="nobody,bad")
    elif how == "option":
        answer = reverie("--no-plugin", "bad", "plugins", "list")
    else:
        answer = reverie("plugins", "list", "--no-plugin", "bad")
    assert answer.returncode == 0
    assert ["bad", "blocked", "bad-dist", "1.0"] in [line.split() for line in answer.stdout.splitlines()]
    assert not canary.exists()
    assert reverie("plugins", "list").returncode == 0
    assert canary.exists()  # so the canary does sing


def test_a_name_that_blocks_nothing_is_a_mistake(reverie: Any) -> None:
    answer = reverie("plugins", "list", "--no-plugin", "goood")
    assert answer.returncode == 2
    assert "there is no plugin 'goood'" in answer.stderr
    assert "did you mean 'good'?" in answer.stderr


def test_a_one_file_plugin(reverie: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(plugin_source(name="of_file"))
    plugins = json.loads(reverie("plugins", "list", "--json", "--plugin", "mine.py").stdout)
    assert plugins[-1]["name"] == "local.mine"
    assert plugins[-1]["file"] == str(file)
    assert len(plugins[-1]["sha256"]) == 64
    missing = reverie("plugins", "list", "--plugin", "mien.py")
    assert missing.returncode == 2
    assert "mien.py" in missing.stderr
    assert "did you mean 'mine.py'?" in missing.stderr


def test_a_check_that_raises_is_a_warning_for_recipes_of_others(reverie: Any, tmp_path: Path) -> None:
    body = "def reverie_check_recipe(recipe):\n    raise ValueError('my \\x1b[2J bug')\n"
    (tmp_path / "mine.py").write_text(f"from reverie import hookimpl\n@hookimpl\n{body}")
    answer = reverie("check", "dreamer", "--plugin", "mine.py")
    assert "\x1b" not in answer.stdout + answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if "reverie_check_recipe" in line]
    assert line.startswith("warning: the hook reverie_check_recipe of plugin 'local.mine'")
    assert line.endswith("ValueError: my \\x1b[2J bug")
    assert answer.returncode == 0, answer.stderr
