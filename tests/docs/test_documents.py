"""Every command in the documents runs, in the order in which a reader would type it.

A fenced block ```console holds commands after `$ ` (and what they print, which is not compared). A block
```yaml file=NAME or ```python file=NAME is first written to NAME; a bare ```python block is run.
One folder per document.
`reverie train` gets a small budget appended, because a reader waits for minutes and a test may not;
nothing else changes.
A block ```text is only for reading.

Each kind of command is typed into a shell where it first appears, which shows that the installed command does it from
nothing. All others run in a forked child that has its imports already (`reader.py`): a process of its own as well, in
which only the ten seconds of importing are saved.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from nursery import Nursery

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "docs/tutorial.md",
    "docs/mix.md",
    "docs/publish.md",
    "docs/contracts.md",
    "docs/metrics.md",
    "docs/recipes/dreamer.md",
    "docs/recipes/pets.md",
    "docs/recipes/transfer.md",
    "docs/environments.md",
    "docs/dream_env.md",
    "docs/offline.md",
]
LONG = ["docs/planners.md", "docs/recipes/planet.md", "docs/recipes/tdmpc2.md", "docs/recipes/world_models.md"]
"""Their commands take minutes."""
FENCE = re.compile(r"^```(?P<language>\w*)(?: +file=(?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["budget.env_steps=530", "evaluation.episodes=1", "evaluation.every=null"]
FRESH = ("README.md", "docs/tutorial.md")
"""Their Python is run by an interpreter of its own, which has imported nothing yet."""
NOT_RUN = ("git clone", "cd ", "make ", "tensorboard", "pip install")


@dataclass(frozen=True)
class Block:
    language: str
    file: str | None
    body: str


def blocks(document: str) -> Iterator[Block]:
    for match in FENCE.finditer((ROOT / document).read_text()):
        yield Block(match["language"], match["file"], match["body"])


def commands(block: Block) -> Iterator[str]:
    joined = block.body.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.startswith("$ ") and not line[2:].startswith(NOT_RUN):
            yield line[2:]


def kind(command: str) -> str:
    """`reverie train`, `python`, `mkdir`: what a command is, without what it is done to."""
    words = shlex.split(command, comments=True)
    return " ".join(words[:2] if words[0] == "reverie" else words[:1])


@cache
def typed() -> set[tuple[str, str]]:
    """Documents and those of their commands that are the first of their kind, over all documents in order."""
    seen: dict[str, tuple[str, str]] = {}
    for document in [*DOCUMENTS, *LONG]:
        for block in blocks(document):
            for command in commands(block) if block.language == "console" else ():
                seen.setdefault(kind(command), (document, command))
    return set(seen.values())


def type_it(command: list[str], folder: Path) -> tuple[int, str]:
    """What a process of its own says, and how it ends."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    return done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def fork_it(nursery: Nursery, deed: str, folder: Path, text: str) -> tuple[int, str]:
    """The same for a child of the nursery."""
    done = nursery.run(f"reader:{deed}", folder=folder, text=text, timeout=280)
    return done.code, done.said[-6000:]


def small(command: str) -> str:
    """A `reverie train` with a budget that a test can wait for."""
    if not command.startswith("reverie train"):
        return command
    head, _, _ = command.partition("  #")
    return " ".join([head.rstrip(), *SMALL])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "document",
    [
        *[name for name in DOCUMENTS if (ROOT / name).exists()],
        *[pytest.param(name, marks=pytest.mark.slow) for name in LONG],
    ],
)
def test_every_command_of_the_document_runs(document: str, tmp_path: Path, nursery: Nursery) -> None:
    for block in blocks(document):
        if block.file is not None:
            target = tmp_path / block.file
            assert target.resolve().is_relative_to(tmp_path.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body)
        elif block.language == "python":
            if document in FRESH:
                code, said = type_it([sys.executable, "-c", block.body], tmp_path)
            else:
                code, said = fork_it(nursery, "run_text", tmp_path, block.body)
            assert code == 0, f"{block.body}\n{said}"
        elif block.language == "console":
            for command in commands(block):
                # A line that ends in `# exit 2` shows a mistake on purpose.
                expected = 2 if command.rstrip().endswith("# exit 2") else 0
                if (document, command) in typed():
                    code, said = type_it(["bash", "-c", small(command)], tmp_path)
                else:
                    code, said = fork_it(nursery, "type_line", tmp_path, small(command))
                assert code == expected, f"$ {command}\n{said}"


def test_each_kind_of_command_is_typed_into_a_shell_once() -> None:
    kinds = [kind(command) for _, command in typed()]
    every = [command for name in [*DOCUMENTS, *LONG] for block in blocks(name) if block.language == "console"
             for command in commands(block)]  # fmt: skip
    assert sorted(kinds) == sorted({kind(command) for command in every})
    assert {"reverie train", "reverie resume", "reverie evaluate", "reverie curve", "reverie dream"} <= set(kinds)


def test_the_documents_exist_and_hold_commands() -> None:
    for document in ("README.md", "docs/tutorial.md", "docs/mix.md"):
        assert any(block.language == "console" and list(commands(block)) for block in blocks(document)), document
