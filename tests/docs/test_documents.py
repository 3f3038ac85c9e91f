"""Every command in the documents runs, in the order in which a reader would type it.

A fenced block ```console holds commands after `$ ` (and what they print, which is not compared). A block
```yaml file=NAME or ```python file=NAME is first written to NAME; a bare ```python block is run.
One folder per document.
`reverie train` gets a small budget appended, because a reader waits for minutes and a test may not;
nothing else changes.
A block ```text is only for reading.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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
SMALL = ["budget.env_steps=620", "evaluation.episodes=1", "evaluation.every=null"]
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


def run(command: list[str], folder: Path, shell_line: str, expected: int = 0) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == expected, f"$ {shell_line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


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
def test_every_command_of_the_document_runs(document: str, tmp_path: Path) -> None:
    for block in blocks(document):
        if block.file is not None:
            target = tmp_path / block.file
            assert target.resolve().is_relative_to(tmp_path.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body)
        elif block.language == "python":
            run([sys.executable, "-c", block.body], tmp_path, block.body)
        elif block.language == "console":
            for command in commands(block):
                # A line that ends in `# exit 2` shows a mistake on purpose.
                expected = 2 if command.rstrip().endswith("# exit 2") else 0
                run(["bash", "-c", small(command)], tmp_path, command, expected)


def test_the_documents_exist_and_hold_commands() -> None:
    for document in ("README.md", "docs/tutorial.md", "docs/mix.md"):
        assert any(block.language == "console" and list(commands(block)) for block in blocks(document)), document
