"""Breaking one formula on purpose and watching the tests that should notice.

A mutation replaces a piece of source text inside one function. The edited file is compiled, never executed: the code
object of that function takes the place of the right one for a while, so everybody who imported the function sees it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sources import ROOT


@dataclass(frozen=True)
class Mutation:
    """One formula, written wrongly.

    Args:
        note: number of the correctness note.
        name: what is wrong then, in a few words; also the name of the test.
        harm: what this mistake does in the field.
        target: `module:function`, where the formula is decided.
        old, new: text in that function, exactly once, and what takes its place.
        tests: each of these must fail on an assertion, for at least one of its parameters.
    """

    note: int
    name: str
    harm: str
    target: str
    old: str
    new: str
    tests: tuple[str, ...]


class Stale(Exception):
    """The text that a mutation replaces is not there (any more), or not only once."""


def function_of(target: str) -> types.FunctionType:
    """The plain function behind `module:Class.method`, whatever decorates it."""
    module, _, qualname = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = inspect.getattr_static(found, part)
        found = getattr(found, "__func__", found)  # staticmethod, classmethod
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, functools.cached_property):
        found = found.func
    found = inspect.unwrap(found)
    assert isinstance(found, types.FunctionType), target
    return found


def mutated_code(mutation: Mutation) -> types.CodeType:
    """The code of the target after the edit.

    Raises:
        Stale: if the text is not there exactly once.
    """
    function = function_of(mutation.target)
    lines, start = inspect.getsourcelines(function)
    text = "".join(lines)
    if text.count(mutation.old) != 1:
        raise Stale(
            f"note {mutation.note}, '{mutation.name}': `{mutation.old}` stands {text.count(mutation.old)} times in "
            f"{mutation.target}. The formula was rewritten: write the same mistake into the new text, in "
            "tests/meta/notes_*.py"
        )
    path = Path(inspect.getsourcefile(function) or "")
    whole = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if _code_in("".join(whole), path, function) != function.__code__:
        raise Stale(f"{path} was edited after it was imported: run this again")
    whole[start - 1 : start - 1 + len(lines)] = [text.replace(mutation.old, mutation.new)]
    return _code_in("".join(whole), path, function)


def _code_in(source: str, path: Path, function: types.FunctionType) -> types.CodeType:
    """The code that a source text has for this function."""
    compiled = compile(source, str(path), "exec", dont_inherit=True)
    found = [code for code in _nested(compiled) if code.co_qualname == function.__code__.co_qualname]
    if len(found) != 1:
        raise Stale(f"{path} was edited after it was imported: run this again")
    return found[0]


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _nested(constant)


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Inside, the formula is wrong."""
    function = function_of(mutation.target)
    right, wrong = function.__code__, mutated_code(mutation)
    function.__code__ = wrong
    try:
        yield
    finally:
        function.__code__ = right


@dataclass
class Verdict:
    """What one test said to one mutation: `noticed` (an assertion failed), `passed`, or whatever else it raised."""

    mutation: Mutation
    test: str
    outcome: str = "no such test"


class _Watch:
    """Runs the tests of each mutation while it is applied, and keeps what they said."""

    def __init__(self, mutations: Sequence[Mutation]) -> None:
        self.verdicts = [Verdict(mutation, test) for mutation in mutations for test in mutation.tests]
        self._said: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for verdict in self.verdicts:
            mine = [
                item
                for item in session.items
                if item.nodeid == verdict.test or item.nodeid.startswith(f"{verdict.test}[")
            ]
            try:
                with applied(verdict.mutation):
                    self._judge(verdict, mine)
            except Stale as stale:
                verdict.outcome = str(stale)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        if call.excinfo is not None:
            noticed = call.when == "call" and call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
            self._said.append("noticed" if noticed else f"{call.when}: {call.excinfo.exconly(tryshort=True)}")
        return (yield)

    def _judge(self, verdict: Verdict, items: Sequence[pytest.Item]) -> None:
        for item in items:
            verdict.outcome = self._run(item)
            if verdict.outcome == "noticed":
                break

    def _run(self, item: pytest.Item) -> str:
        self._said = []
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._said[0] if self._said else "passed"


def verdicts(mutations: Sequence[Mutation], folder: Path) -> list[Verdict]:
    """Apply each mutation in turn and run its tests, in this process.

    Args:
        folder: for temporary files, a new one.
    """
    watch = _Watch(mutations)
    wanted = sorted({test.partition("[")[0] for mutation in mutations for test in mutation.tests})
    quiet = ["terminal", "xdist", "timeout", "cacheprovider", "faulthandler", "unraisableexception", "threadexception"]
    with mock.patch.dict(os.environ, {"PYTEST_ADDOPTS": ""}):  # meant for the outer run, whose plugins are not here
        pytest.main(
            [
                *[str(ROOT / test) for test in wanted],
                *[argument for plugin in quiet for argument in ("-p", f"no:{plugin}")],
                *("-c", os.devnull, f"--rootdir={ROOT}", f"--basetemp={folder}"),
                *("--import-mode=importlib", "--capture=no", "-W", "ignore"),
            ],
            plugins=[watch],
        )
    return watch.verdicts
