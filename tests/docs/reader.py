"""A reader of the documents, as a child of the nursery: what is typed runs here, its imports done already."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def type_line(folder: str, text: str) -> int:
    """A line as a shell would take it: a command, perhaps a comment, perhaps `> file` for what it prints."""
    _settle(folder)
    words = shlex.split(text, comments=True)
    target = None
    if len(words) > 2 and words[-2] == ">":
        *words, _, target = words
    if target is not None:
        sys.stdout.flush()
        os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    return _called(words)


def run_text(folder: str, text: str) -> int:
    """The text of a program, as `python -c`."""
    _settle(folder)
    sys.path.insert(0, "")
    exec(compile(text, "<document>", "exec"), {"__name__": "__main__"})
    return 0


def _called(words: list[str]) -> int:
    if any(word in {"|", "&&", "||", ";", "<", ">", ">>"} or "$" in word or "*" in word for word in words):
        raise ValueError(f"a reader who is no shell was given {words}: let the document be plainer, or teach it here")
    sys.argv = words
    try:
        if words[0] == "reverie":
            from reverie.cli.main import main

            main()
        elif words[0] == "python":
            sys.argv = words[1:]
            sys.path.insert(0, "")
            runpy.run_path(words[1], run_name="__main__")
        else:
            return subprocess.run(words).returncode
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _settle(folder: str) -> None:
    """Into the document's folder, with nothing of the tests in reach of its programs."""
    os.chdir(folder)
    ours = {str(HERE), str(HERE.parent), str(HERE.parent / "faults")}
    sys.path[:] = [path for path in sys.path if path not in ours]
