"""`reverie check` and `reverie recipes`, as typed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reverie.cli.console import GlobalOptions, configure
from reverie.cli.main import run

Typed = Callable[..., tuple[int, str, str]]
TOYS = str(Path(__file__).with_name("toy_plugin.py"))


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Run one command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # then tables are as wide as in a file

    def typed(*arguments: str) -> tuple[int, str, str]:
        configure(GlobalOptions())
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return typed


class TestCheck:
    def test_the_wiring_table(self, typed: Typed) -> None:
        code, out, err = typed("check", "dreamer", "planner=cem", "--no-probe")
        assert (code, err) == (0, "")
        rows = {line.split()[0]: line.split() for line in out.splitlines() if line and line[0].isalpha()}
        assert rows["slot"] == ["slot", "component", "provides", "needs"]  # all are of one distribution
        assert rows["planner"] == ["planner", "cem", "continuous,", "discrete", "heads/reward"]
        assert rows["actor"][1:3] == ["mlp", "continuous,"]
        assert out.rstrip().endswith("OK  every part fits")

    def test_all_problems_and_the_table_of_what_there_is(self, typed: Typed) -> None:
        code, out, err = typed("check", "dreamer", "decoder=null", "dynamics.detr=3", "--no-probe")
        assert code == 2
        assert "learners/model" in out
        assert re.search(r"^dynamics +rssm \(refused\) *$", out, re.MULTILINE)
        assert "error: 2 problems" in err
        assert "command line: dynamics (rssm): unknown key 'detr' (did you mean 'deter'?)" in err
        assert "needs decoder, which is empty" in err
        assert "contrastive" in err
        assert "Traceback" not in out + err

    def test_json(self, typed: Typed) -> None:
        code, out, _ = typed("check", "dreamer", "--no-probe", "--json")
        assert code == 0
        told = json.loads(out)
        assert told["ok"] is True
        assert told["wiring"][0] == {
            "slot": "env",
            "component": "gym",
            "distribution": told["wiring"][0]["distribution"],
            "provides": [],
            "needs": [],
        }
        code, out, _ = typed("check", "dreamer", "sede=3", "--no-probe", "--json")
        assert code == 2
        (problem,) = json.loads(out)["problems"]
        assert problem["what"] == "unknown key 'sede' (did you mean 'seed'?)"
        assert problem["where"] == "command line"

    def test_dropped_keys_are_told_in_one_line(self, typed: Typed) -> None:
        Path("r.yaml").write_text("defaults: [dreamer]\nplanner: {name: cem, horizon: 3}\n")
        code, _, err = typed("check", "r.yaml", "planner=actor", "--no-probe")
        assert code == 0
        assert err == (
            "planner is now actor (command line); r.yaml:2 wrote options for cem, which are dropped: horizon\n"
        )

    def test_the_probe_runs(self, typed: Typed) -> None:
        code, out, err = typed("check", "dreamer")
        assert (code, err) == (0, "")
        assert out.rstrip().endswith("OK  every part fits, and a batch went through")

    def test_local_plugins(self, typed: Typed) -> None:
        """Of the toys only the configs exist: enough without the probe. Both have a decoder `auto`."""
        command = ["check", "dreamer", "planner=steering", "env=pendulum", "--no-probe", "--plugin", TOYS]
        code, _, err = typed(*command)
        assert code == 2
        assert "decoder: 2 plugins have a decoder called 'auto'" in err
        assert "write 'reverie/auto' or 'local.toy_plugin/auto' to say which is meant" in err
        code, out, _ = typed(*command, "decoder=reverie/auto")
        assert code == 0
        rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.startswith(("dec", "pla"))}
        assert rows == {"decoder": ["reverie/auto", "reverie"], "planner": ["steering", "local.toy_plugin"]}

    def test_hostile_names_cannot_steer_the_terminal(self, typed: Typed) -> None:
        Path("r.yaml").write_text('defaults: [dreamer]\n"se\\u009b31med": 1\n')
        code, out, err = typed("check", "r.yaml", "\x1b[31mx=3", "--no-probe")
        assert code == 2
        assert not {"\x1b", "\x9b"} & set(out + err)


class TestRecipes:
    def test_list(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "list")
        assert code == 0
        assert "Dreamer: an RSSM world model and an actor-critic that learns by imagining." in out
        assert "dmc/cartpole_swingup" in out

    def test_the_list_is_grouped_by_what_must_be_installed(self, typed: Typed) -> None:
        _, out, _ = typed("recipes", "list")
        lines = out.splitlines()
        heads = [line for line in lines if line.startswith(("recipe ", "env="))]
        assert [head.split()[0] for head in heads] == [
            "recipe",
            "env=...",
            "env=dmc/...",
            "env=minatar/...",
            "env=minigrid/...",
        ]
        assert "(pip install 'reverie[minatar]')" in heads[3]
        assert "pip install" not in heads[0] + heads[1]
        first = lines.index(heads[2]) + 2
        assert lines[first].startswith("dmc/acrobot_swingup ")
        assert lines[first + 17].startswith("dmc/walker_walk ")
        assert lines[first + 18] == ""

    def test_list_as_json(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "list", "--json")
        assert code == 0
        found = {(row["group"], row["name"]): row for row in json.loads(out)}
        assert found["env", "pendulum"]["summary"] == "Swing a pendulum up and hold it, one continuous action."
        assert Path(found["recipe", "dreamer"]["file"]).is_file()

    def test_show_says_where_each_value_comes_from(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "show", "dreamer_categorical", "env=pendulum", "dynamics.deter=32")
        assert code == 0
        lines = {tuple(line.split("# ")[0].split()): line.partition("# ")[2] for line in out.splitlines()}
        assert lines["deter:", "32"] == "command line"
        assert lines["latent:", "categorical"].endswith("recipes/dreamer_categorical.yaml:5")
        assert lines["id:", "Pendulum-v1"].endswith("recipes/env/pendulum.yaml:3")

    def test_show_as_json(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "show", "dreamer", "--json", "seed=4")
        told = json.loads(out)
        assert code == 0
        assert told["recipe"]["seed"] == 4
        assert told["places"]["seed"] == "command line"

    def test_copy_then_check(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "copy", "dreamer", "mine.yaml")
        assert code == 0
        assert "reverie train ./mine.yaml" in out
        assert typed("check", "mine.yaml", "--no-probe")[0] == 0
        code, _, err = typed("recipes", "copy", "dreamer", "mine.yaml")
        assert code == 2
        assert "mine.yaml exists already" in err

    def test_copy_under_a_name_that_train_would_not_read(self, typed: Typed) -> None:
        code, _, err = typed("recipes", "copy", "dreamer", "mine.txt")
        assert (code, "ends in .yaml" in err, Path("mine.txt").exists()) == (2, True, False)

    def test_a_gymnasium_id_instead_of_a_file(self, typed: Typed) -> None:
        code, _, err = typed("check", "dreamer", "env=Taxi-v3", "--no-probe")
        assert (code, "write env=gym env.id=Taxi-v3" in " ".join(err.split())) == (2, True)

    def test_copy_an_environment_beside_ones_recipe(self, typed: Typed) -> None:
        assert typed("recipes", "copy", "env/pendulum", "env/mine.yaml")[0] == 0
        Path("r.yaml").write_text("defaults: [dreamer]\n")
        assert typed("check", "r.yaml", "env=mine", "--no-probe")[0] == 0

    def test_copy_what_is_not_there(self, typed: Typed) -> None:
        code, _, err = typed("recipes", "copy", "draemer")
        assert code == 2
        assert "there is no recipe 'draemer' (did you mean 'dreamer'" in err

    def test_diff(self, typed: Typed) -> None:
        code, out, _ = typed("recipes", "diff", "dreamer", "dreamer_categorical")
        assert code == 0
        assert out.split()[:5] == ["dynamics.latent", "-", "gaussian", "+", "categorical"]
        code, out, _ = typed("recipes", "diff", "dreamer", "dreamer_categorical", "--no-filled", "--json")
        rows = json.loads(out)
        assert rows[0] == {"key": "dynamics.latent", "first": "gaussian", "second": "categorical"}
        assert [row["key"] for row in rows] == ["dynamics.latent", "dynamics.kl.free_nats"]
        assert typed("recipes", "diff", "dreamer", "dreamer")[1] == "no difference\n"
