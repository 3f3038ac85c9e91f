"""The framework never names an algorithm: it would be the first step to treating one differently.

The rule: no identifier, imported name, or string without a space of `framework/` holds an algorithm's name as a word of
its own. Docstrings, comments and sentences (strings with spaces: messages, help) may cite a paper or give an example,
since nothing can be looked up, compared or imported by them. One file of data is exempt: which plugins exist, so that
the message about one that is blocked or not installed can name it.
"""

import ast
import re
from pathlib import Path

import pytest
from sources import files, place

ALGORITHMS = {
    "dreamer", "dreamerv1", "dreamerv2", "dreamerv3", "planet", "rssm", "tdmpc", "tdmpc2", "mpc2", "mdn", "mdnrnn",
    "pets", "mbpo", "muzero", "cem", "icem", "mppi", "iris", "simple", "slac", "steve", "tssm", "storm", "cmaes",
    "ppo", "sac", "dqn", "vmc",
}  # fmt: skip
EXEMPT = "extension/known.py"
ALLOWED_WORDS = {"simple"}  # an English word first


def words(text: str) -> set[str]:
    """The words of an identifier or sentence: split at anything but letters and digits, and at camelCase."""
    parts = re.findall(r"[A-Za-z0-9]+", text)
    camel = [word for part in parts for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])", part)]
    return {part.lower() for part in [*parts, *camel]}


def names_in(tree: ast.AST) -> list[tuple[ast.AST, str]]:
    """Identifiers, and strings without a space, but no docstrings (of attributes neither)."""
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docs and " " not in text.strip():
            found.append((node, text))
        for field in ("id", "attr", "name", "arg", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found.append((node, value))
    return found


def offences(source: str, path: Path) -> list[str]:
    banned = ALGORITHMS - ALLOWED_WORDS
    return [
        f"{place(path, node)}: {text[:60]!r} names {', '.join(sorted(words(text) & banned))}"
        for node, text in names_in(ast.parse(source))
        if words(text) & banned
    ]


def test_the_framework_names_no_algorithm() -> None:
    paths = [path for path in files("framework") if not path.as_posix().endswith(EXEMPT)]
    found = [offence for path in paths for offence in offences(path.read_text(encoding="utf-8"), path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "class RSSMState: ...",
        "def dreamer_loss(): ...",
        "if learner == 'dreamer': pass",
        "from reverie_plugins import cem",
        "import reverie_plugins.rssm.dynamics",
        "f(planner='mppi')",
        "x.mdn_head",
    ],
)
def test_an_algorithm_is_noticed(source: str) -> None:
    assert offences(source, Path("x.py"))


@pytest.mark.parametrize(
    "source",
    ['"""DreamerV3, section 2."""', "x = 1  # as in PETS", "recemented = 'placement'", "help='such as planner=cem'"],
)
def test_citations_and_other_words_are_no_algorithms(source: str) -> None:
    assert not offences(source, Path("x.py"))
