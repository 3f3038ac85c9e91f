"""Recipes come from strangers: whatever they hold, the answer is a line, at once, and nothing is run."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reverie.recipes.recipe import Recipe

Told = Callable[..., str]
Make = Callable[..., Recipe]

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(told: Told, text: str | bytes) -> str:
    path = Path("hostile.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    begin = time.process_time()
    message = told(path)
    assert time.process_time() - begin < 5
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "hostile.yaml:1: anchors and aliases (& and *) are not read in recipes; write the values out"),
        ("a: &a [*a]\n", "hostile.yaml:1: anchors and aliases (& and *) are not read in recipes; write the values out"),
        ("a: " + "[" * 100_000, "hostile.yaml:1: values are nested deeper than 24 levels"),
        ("{a: " * 30 + "1" + "}" * 30, "hostile.yaml:1: values are nested deeper than 24 levels"),
        ("a: [" + "1, " * 30_000 + "1]\n", "hostile.yaml:1: there are more than 5000 values"),
        ("# " + "x" * 200_000, "hostile.yaml: the file is larger than 128 KiB, more than any recipe needs"),
        (b"\xff\xfe\x00", "hostile.yaml: the file is not text in UTF-8"),
        (b"seed: \x00\n", "hostile.yaml: this is not valid YAML: special characters are not allowed"),
        ("a: [1, 2\nb: 3\n", "hostile.yaml:2: this is not valid YAML: expected ',' or ']', but got ':'"),
        ("- a\n- b\n", "hostile.yaml:1: a recipe is a mapping of keys, but this file holds something else"),
        ("", "hostile.yaml: the recipe is empty\n    fix: `reverie recipes copy` gives one to begin with"),
        (
            "seed: 1\nreplay: {length: 3\n\n\n",
            "hostile.yaml:2: this is not valid YAML: expected ',' or '}', but got '<stream end>'\n"
            "    fix: what this line opens is never closed",
        ),
        (
            "defaults:\n\t- dreamer\n",
            "hostile.yaml:2: this is not valid YAML: found character '\\t' that cannot start any token\n"
            "    fix: indent with spaces; YAML allows no tabs there",
        ),
    ],
    ids=[
        "bomb",
        "loop",
        "brackets",
        "braces",
        "many",
        "large",
        "encoding",
        "null",
        "syntax",
        "list",
        "empty",
        "open",
        "tab",
    ],
)
def test_files_that_are_not_read(told: Told, text: str | bytes, message: str) -> None:
    assert refused(told, text) == message


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("run_dir: ${oc.env:HOME}", "the interpolation '${oc.env:HOME}' is refused"),
        ("run_dir: ${oc.decode:x}", "the interpolation '${oc.decode:x}' is refused"),
        ("run_dir: ${seed}", "the interpolation '${seed}' is refused"),
        ("dynamics: {_target_: os.system}", "the key '_target_' is refused"),
        ("dynamics: {loss: {_partial_: true}}", "the key '_partial_' is refused"),
        ("seed: " + "9" * 5000, "the number 99999999999999999... is too large"),
        ("seed: " + "9" * 30, "the number 999999999999999999999... is too large"),
        ("budget: {minutes: .inf}", "the number inf is not finite"),
        ("budget: {minutes: .nan}", "the number nan is not finite"),
        ("run_dir: '???'", "the value '???' is missing"),
        ('run_dir: "a\\e[31mred"', "the text 'a\N{REPLACEMENT CHARACTER}[31mred' has control characters"),
        ("run_dir: !!python/object/apply:os.system [touch canary]",
         "the YAML tag 'tag:yaml.org,2002:python/object/apply:os.system' is refused"),
        ("run_dir: !!python/object/apply:pathlib.Path [x]",
         "the YAML tag 'tag:yaml.org,2002:python/object/apply:pathlib.Path' is refused"),
        ("run_dir: !!binary aGVsbG8=", "the YAML tag 'tag:yaml.org,2002:binary' is refused"),
        ("dynamics: {<<: {width: 3}}", "merge keys (<<) are not read in recipes"),
        ("1: 2", "the key 1 is not text for YAML"),
        ("heads: {no: {layers: 1}}", "the key no is not text for YAML"),
        ("? [a, b]\n: c", "the key a list or mapping is not text for YAML"),
        ("seed: 1\nseed: 2", "the key 'seed' is written twice"),
    ],
)  # fmt: skip
def test_values_that_are_refused(told: Told, line: str, what: str) -> None:
    """One problem, the rest of the recipe is judged as if the value were not there."""
    message = refused(told, f"defaults: [base]\n{line}\n")
    place = 3 if "\nseed" in line else 2
    assert message.splitlines()[0] == f"hostile.yaml:{place}: {what}"
    assert sum(not text.startswith("    ") for text in message.splitlines()) == 1
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "'${oc.env:HOME}'", "[a,'${oc.env:HOME}']", "{a: '${oc.env:HOME}'}"]
)
def test_interpolations_on_the_command_line(told: Told, value: str) -> None:
    assert told("base", f"run_dir={value}").splitlines()[0] == (
        "command line: run_dir: the interpolation '${oc.env:HOME}' is refused"
    )


def test_environment_variables_never_reach_a_message(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_SECRET", "hunter2")
    assert "hunter2" not in refused(told, "defaults: [base]\nrun_dir: ${oc.env:REVERIE_SECRET}\n")
    assert "hunter2" not in told("base", "run_dir=${oc.env:REVERIE_SECRET}")


def test_targets_on_the_command_line(told: Told) -> None:
    assert told("base", "dynamics._target_=os.system") == (
        "command line: the key 'dynamics._target_' is refused\n"
        "    why: a recipe is data: it names components, never code"
    )
    assert "the key '_target_' is refused" in told("base", "env.kwargs={_target_: os.system}")


def test_hydra_is_not_configured_by_recipes(told: Told) -> None:
    Path("elsewhere").mkdir()
    message = refused(told, "defaults: [base]\nhydra: {searchpath: [elsewhere], run: {dir: canary}}\n")
    assert message.startswith("hostile.yaml:2: unknown key 'hydra'\n")


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "a/../../b", "~/x", "a b", "x" * 5000, "a\\b"])
def test_names_stay_in_their_folders(told: Told, name: str) -> None:
    Path("secret.yaml").write_text("name: toy\nlimit: 5\n")
    lines = refused(told, f"defaults:\n  - base\n  - env: '{name}'\n  - dynamics: '{name}'\n").splitlines()
    assert [line.partition(" '")[0] for line in lines if line.startswith("hostile")] == [
        "hostile.yaml:3: env: no env",
        "hostile.yaml:4: dynamics: no dynamics",
    ]
    assert max(len(line) for line in lines) < 400


def test_module_paths_are_no_components(told: Told) -> None:
    assert "there is no env called 'os.system'" in told("base", "env=os.system")


@pytest.mark.parametrize("run", ["/etc", "/dev/zero", "x" * 5000, "a\\0b", "../.."])
def test_runs_that_are_none(told: Told, run: str) -> None:
    message = refused(told, f'defaults: [base]\ndynamics: {{from_run: "{run}"}}\n')
    assert message.count("hostile.yaml:2:") == 1


def test_special_files(told: Told, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert told("pipe.yaml") == (
        "pipe.yaml: there is no such file\n    fix: give the name of a recipe or the path of a .yaml file"
    )
    (tmp_path / "folder.yaml").mkdir()
    assert "folder.yaml: this is a folder, not a recipe" in told("folder.yaml")


def test_names_of_recipes_cannot_leave_the_run_folder(make: Make) -> None:
    Path("we$ird name;.yaml").write_text("defaults: [base]\n")
    assert make(Path("we$ird name;.yaml")).name == "we_ird_name_"
    Path("r.yaml").write_text("defaults: [base]\nlock: {schema: 1, recipe: ../../x}\n")
    assert make("r.yaml").name == "_x"
