"""Averages, the table and the lines, each cut back to a checkpoint."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie.training.metrics import Averages, Lines, Table


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_averages_take_numbers_and_tensors_and_start_anew() -> None:
    averages = Averages()
    averages.add("a", 1.0)
    averages.add("a", torch.tensor(3.0))
    averages.add("b", torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert averages.take() == {"a": 2.0, "b": 3.0}
    assert averages.take() == {}


def test_averages_do_not_hold_graphs() -> None:
    averages, weight = Averages(), torch.ones((), requires_grad=True)
    averages.add("a", weight * 2)
    assert averages.state() == {"sums": {"a": 2.0}, "counts": {"a": 1}}


def test_averages_go_on_bit_for_bit_after_a_restore() -> None:
    torch.manual_seed(0)
    values = list(torch.randn(40))
    whole, first, second = Averages(), Averages(), Averages()
    for value in values:
        whole.add("a", value)
    for value in values[:17]:
        first.add("a", value)
    second.restore(first.state())
    for value in values[17:]:
        second.add("a", value)
    assert second.take() == whole.take()


def test_the_table_grows_columns_without_losing_rows(tmp_path: Path) -> None:
    table = Table(tmp_path / "metrics.csv")
    table.add({"env_steps": 1, "a": 0.1})
    table.add({"env_steps": 2, "b": "text, with a comma"})
    table.add({"env_steps": 3, "a": 1e-17})
    assert read(table.path) == [
        {"env_steps": "1", "a": "0.1", "b": ""},
        {"env_steps": "2", "a": "", "b": "text, with a comma"},
        {"env_steps": "3", "a": "1e-17", "b": ""},
    ]


def test_a_table_that_was_cut_back_and_continued_is_the_table_that_never_stopped(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"env_steps": 1, "a": 0.1}, {"env_steps": 2, "b": 2.5}, {"env_steps": 3, "c": 1.0}]
    alone, stopped = Table(tmp_path / "alone.csv"), Table(tmp_path / "stopped.csv")
    for row in rows:
        alone.add(row)
    stopped.add(rows[0])
    mark = stopped.state()
    stopped.add({"env_steps": 99, "lost": 1.0})
    again = Table(stopped.path)
    assert again.restore(mark) == 1
    for row in rows[1:]:
        again.add(row)
    assert again.path.read_text() == alone.path.read_text()


def test_a_half_written_last_row_is_dropped(tmp_path: Path) -> None:
    table = Table(tmp_path / "metrics.csv")
    table.add({"env_steps": 1, "a": 0.1})
    mark = table.state()
    with table.path.open("a") as file:
        file.write("2,0.")
    again = Table(table.path)
    again.restore(mark)
    assert read(table.path) == [{"env_steps": "1", "a": "0.1"}]


def test_cutting_back_to_nothing_removes_the_file(tmp_path: Path) -> None:
    table = Table(tmp_path / "metrics.csv")
    mark = table.state()
    table.add({"env_steps": 1})
    table.restore(mark)
    assert not table.path.exists()


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_lines_are_cut_back(tmp_path: Path, kept: int) -> None:
    lines = Lines(tmp_path / "evaluations.jsonl")
    for number in range(2):
        lines.add({"mean": number})
    assert Lines(lines.path).restore(kept) == 2 - kept
    assert [entry["mean"] for entry in lines.read()] == list(range(kept))
